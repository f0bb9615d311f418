"""What a source may give, and an item's parameters: JSON, which nobody can change."""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Item, Job
from engine.contract.job import NO_PARAMETERS, Parameters

FLOATS = st.floats(allow_nan=False, allow_infinity=False)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_parameters_are_the_mapping_that_they_were_made_of(values: dict[str, Any]) -> None:
    parameters = Parameters.of(values)
    assert parameters == values
    assert bool(parameters) == bool(values)
    assert parameters.text.isascii()
    assert Parameters.of(dict(reversed(values.items()))).text == parameters.text
    assert Parameters(parameters.text) == parameters
    for again in (pickle.loads(pickle.dumps(parameters)), copy.deepcopy(parameters)):
        assert again == parameters
        assert hash(again) == hash(parameters)


def test_nobody_can_change_parameters() -> None:
    given = {"sizes": [1, 2]}
    job = Job("v", parameters=given)
    given["sizes"].append(3)
    job.parameters["sizes"].append(4)
    assert job.parameters == {"sizes": [1, 2]}
    with pytest.raises(TypeError):
        job.parameters["sizes"] = []  # type: ignore[index]
    with pytest.raises(AttributeError):
        job.parameters.text = "{}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"a": object()}, "not JSON serializable"),
        ({"a": float("nan")}, "not JSON compliant"),
        ({1: "a"}, "the name 1 is no string"),
        ({"a": [{2: "b"}]}, "the name 2 is no string"),
    ],
)
def test_what_is_no_json_is_refused(values: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be parameters of an item: .*{why}"):
        Job("v", parameters=values)


def test_what_may_stand_for_a_job() -> None:
    job = Job("v", parameters={"width": 8})
    assert Job.of(job) is job
    assert Job.of("v") == Job("v")
    assert Job.of(("one", "v")) == Job("v", "one")
    assert Job("v", handle=1) == Job("v", handle=2)
    for nothing in (None, 7, ("one",), ("one", 2), ["one", "v"]):
        with pytest.raises(TypeError, match="give a string, a pair"):
            Job.of(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("id_", ["", "a/b", "..", "ü", "x" * 201])
def test_an_id_that_is_no_file_name_is_refused_where_the_job_is_made(id_: str) -> None:
    with pytest.raises(ValueError, match="is no item id"):
        Job("v", id_)


def test_an_item_has_the_parameters_that_it_is_given_and_a_child_none(tmp_path: Any) -> None:
    item = Item.at(tmp_path, "v", parameters={"width": 8})
    assert item.parameters == {"width": 8}
    assert item.id == Item.at(tmp_path, "v").id
    assert item.with_inputs({"video": "a"}).parameters == {"width": 8}
    assert pickle.loads(pickle.dumps(item)) == item
    assert item.child("w").parameters is NO_PARAMETERS
    assert item.child("w", parameters={"width": 9}).parameters == {"width": 9}
    with pytest.raises(ValueError, match="cannot be parameters"):
        item.child("w", parameters={"width": object()})
