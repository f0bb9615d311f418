"""Answers by a schema."""

import pytest
from pydantic import BaseModel, Field

from stages.vision.api import FormQuestion, Gemini, OpenAI, Subject
from stages.vision.forms import UnfitAnswer, gemini_schema, read_form, schema_of


class Chapter(BaseModel):
    title: str
    first: int = Field(ge=0, description="Its first scene.")


class Book(BaseModel):
    chapters: tuple[Chapter, ...]
    tags: list[str] = []


CHAPTER = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "first": {"type": "integer", "description": "Its first scene."},
    },
    "required": ["title", "first"],
    "additionalProperties": False,
}


def test_a_schema_is_strict_and_whole() -> None:
    schema = schema_of(Book)
    assert schema["properties"]["chapters"] == {"type": "array", "items": CHAPTER}
    assert schema["required"] == ["chapters", "tags"]
    gemini = gemini_schema(schema)
    assert gemini["properties"]["chapters"]["items"] == {
        "type": "OBJECT",
        "properties": {
            "title": {"type": "STRING"},
            "first": {"type": "INTEGER", "description": "Its first scene."},
        },
        "required": ["title", "first"],
        "propertyOrdering": ["title", "first"],
    }


def test_an_object_is_found_in_what_surrounds_it() -> None:
    said = 'Sure! ```json {"title": "One", "first": 3, "mood": "sad"} ``` That is it.'
    assert read_form(Chapter, said) == Chapter(title="One", first=3)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("A cat.", "it is no JSON"),
        ('{"title": "On', "it ends in the middle"),
        ('{"title": "One"}', "first: is missing"),
        ('{"title": "One", "first": -1}', "first: has to be"),
        ("[1]", "the answer: has to be an object"),
        ("{" * 9000, "it ends in the middle"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(said: str, why: str) -> None:
    with pytest.raises(UnfitAnswer) as told:
        read_form(Chapter, said)
    assert why in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) <= 300


QUESTION = FormQuestion("eye", "Which chapter?", 50, None, "auto", schema_of(Chapter))
SUBJECT = Subject((b"j", b"k"), "<data>{}</data>", ("A cat.", "Again."))


def test_the_instruction_stands_apart_from_the_data_in_each_protocol() -> None:
    body = OpenAI(QUESTION, "http://x").body(SUBJECT)
    system, user, answer, objection = body["messages"]
    assert system == {"role": "system", "content": "Which chapter?"}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "image_url"]
    assert user["content"][0]["text"] == "<data>{}</data>"
    assert (answer["role"], answer["content"]) == ("assistant", "A cat.")
    assert (objection["role"], objection["content"]) == ("user", "Again.")
    assert body["response_format"]["json_schema"]["schema"] == CHAPTER

    body = Gemini(QUESTION, "http://x").body(SUBJECT)
    assert body["systemInstruction"] == {"parts": [{"text": "Which chapter?"}]}
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][0]["parts"][-1] == {"text": "<data>{}</data>"}
    assert body["generationConfig"]["responseSchema"]["type"] == "OBJECT"


def test_a_server_that_knows_no_schema_is_asked_without() -> None:
    api = OpenAI(QUESTION, "http://x")
    assert api.adapt(api.request(SUBJECT), "response_format.json_schema")
    assert "response_format" not in api.body(SUBJECT)
    assert not api.adapt(api.request(SUBJECT), "response_format")


def test_what_one_asks_about_is_told_apart_by_all_that_is_sent() -> None:
    alone = Subject((b"j",))
    assert alone.content == b"j", "a crawl's kept replies are found by the image alone"
    several = [
        alone,
        Subject((b"j", b"k")),
        Subject((b"k", b"j")),
        Subject((b"j",), "data"),
        Subject((), "data"),
        Subject((b"j",), "data", ("a", "b")),
    ]
    assert len({one.content for one in several}) == len(several)
