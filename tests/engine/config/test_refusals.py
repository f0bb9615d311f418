"""What is wrong with a value is told in our words, whatever pydantic has found."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_core._pydantic_core import list_all_errors

from engine import why_refused


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=2, max_length=4, pattern="^[a-z]+$")] = "ab"
    share: Annotated[float, Field(gt=0, le=1000.0)] = 1.0
    count: int = 1
    is_kept: bool = True
    how: Literal["fast", "well"] = "fast"
    tags: Annotated[tuple[str, ...], Field(max_length=1)] = ()
    options: dict[str, Any] = {}
    even: int = 0
    odd: int = 1

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("is odd; take another")
        return value

    @field_validator("odd")
    @classmethod
    def _odd(cls, value: int) -> int:
        if not value % 2:
            raise PydanticCustomError("even", "is even; take another")
        return value


class Whole(BaseModel):
    asked: Asked


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "is missing"),
        (7, "has to be an object"),
        ({"else": 1}, "there is no such field"),
        ({"name": 7}, "has to be text"),
        ({"name": "a"}, "has to have 2 characters at least"),
        ({"name": "abcde"}, "has to have 4 characters at most"),
        ({"name": "AB"}, "has to match ^[a-z]+$"),
        ({"share": "x"}, "has to be a number"),
        ({"share": 0}, "has to be over 0"),
        ({"share": 1e9}, "has to be 1000 at most"),
        ({"count": 1.5}, "has to be a whole number"),
        ({"is_kept": 1}, "has to be true or false"),
        ({"how": "badly"}, "has to be 'fast' or 'well'"),
        ({"tags": "a"}, "has to be a list"),
        ({"tags": ("a", "b")}, "has to have 1 members at most"),
        ({"options": []}, "has to be an object"),
        ({"even": 1}, "is odd; take another"),
        ({"odd": 2}, "is even; take another"),
    ],
)
def test_it_says_what_the_value_has_to_be(given: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Whole.model_validate({"asked": given} if given is not None else {})
    [details] = refused.value.errors()
    assert why_refused(details) == told


def test_no_words_of_pydantic_s_come_through() -> None:
    own = ("value_error", "assertion_error")
    for kind in (one for one in list_all_errors() if one["type"] not in own):
        context = dict.fromkeys(kind.get("example_context") or {}, 1)
        message = kind["example_message_python"]
        told = why_refused({"type": kind["type"], "msg": message, "ctx": context})
        assert told not in message, told
