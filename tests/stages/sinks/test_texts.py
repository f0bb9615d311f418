"""The words of a record are found by field name, however it is laid out."""

from hypothesis import given
from hypothesis import strategies as st

from stages.sinks.texts import spaced, texts_of, unspaced
from tests.stages.sinks.records import said, scene


def test_each_field_goes_where_it_belongs():
    record = scene(
        0,
        speech=said("Hello there.", "Good  bye."),
        objects=[{"class": "dog", "ids": ["x"], "most_at_once": 2}, {"class": "cat"}],
        sounds=[{"label": "Speech", "score": 0.9}],
        captions=[{"frame": "frames/1.jpg", "text": "a dog and a cat"}],
        description={"description": "A fight.", "tags": ["pets"], "made_by": "some model"},
    )
    assert texts_of(record) == {
        "said": "Hello there.\nGood bye.",
        "seen": "dog\ncat",
        "heard": "Speech",
        "described": "A fight.\npets\na dog and a cat",
    }


def test_null_and_absent_fields_have_no_words():
    empty = dict.fromkeys(("said", "seen", "heard", "described"), "")
    assert texts_of({}) == empty
    assert texts_of(scene(0, objects=None, captions=[], description={"tags": None})) == empty


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["speech", "objects", "sounds", "description"]), ANYTHING))
def test_no_layout_is_an_error(record):
    for text in texts_of(record).values():
        text.encode()


@given(st.text(alphabet="ab \u6d0b\u8471\u3042"))
def test_characters_that_are_words_are_set_apart_and_put_together_again(text):
    assert unspaced(spaced(text)).replace(" ", "") == text.replace(" ", "")
    assert unspaced(spaced("ab\u6d0b\u8471cd")) == "ab\u6d0b\u8471cd"
    assert spaced("\u6d0b\u8471").split() == ["\u6d0b", "\u8471"]
