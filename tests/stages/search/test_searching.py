"""Every query is safe, the better scene stands first, and neighbours are one answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import UsageError
from stages.search.query import match_expression, terms_of
from stages.search.searching import Hit, SearchQuestion, search
from stages.search.snippet import WIDEST, plain, snippet_of
from stages.sinks.sqlite import SqliteSink
from stages.sinks.sqlite_file import opened_to_read
from tests.stages.sinks.records import said, scene, video

KITCHEN = video(
    "kitchen",
    scene(0, speech=said("Welcome to the kitchen.", "What's for dinner?")),
    scene(1, speech=said("First she chops the onions.", start=10), objects=[{"class": "knife"}]),
    scene(2, speech=said("Chopping onions makes you cry.", start=20)),
    scene(3, sounds=[{"label": "Sizzle", "score": 0.8}]),
    scene(4, description={"description": "A pan with C++ written on it.", "tags": ["pan"]}),
    scene(5, speech=said("你好世界", start=50)),
)
STREET = video("street", scene(0, objects=[{"class": "car"}, {"class": "dog"}]), scene(1))


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("search") / "search.db"
    with SqliteSink(path) as sink:
        sink.write(KITCHEN)
        sink.write(STREET)
    return path


def found(database: Path, words: str, **more) -> list[Hit]:
    with opened_to_read(database) as db:
        return search(db, SearchQuestion(words, **more), 10)


def test_neighbours_are_one_answer_that_tells_the_time_of_the_words(database):
    [hit] = found(database, "chop onion")
    assert (hit.video, hit.first, hit.last, hit.start, hit.end) == ("kitchen", 1, 2, 10, 30)
    assert hit.time == hit.record["speech"]["segments"][0]["start"]
    assert hit.column == "said"
    assert "onions" in plain(hit.snippet)
    [hit] = found(database, "dinner")
    assert hit.time == 2, "where the second segment begins"


@pytest.mark.parametrize(
    ("words", "scenes"),
    [
        ("what's", [0]),
        ("C++", [4]),
        ('"makes you cry"', [2]),
        ('"cry you makes"', []),
        ("DOG", [0]),
        ("sizzling AND pans", [3]),
        ("knife*", [1]),
        ("世界", [5]),
        ("界世", []),
        ("e-mail", []),
        ("said : dog", [0]),
        ("NEAR(onions chops)", [2]),
    ],
)
def test_queries_find_words_and_no_syntax(database, words, scenes):
    assert [hit.scene for hit in found(database, words)][:1] == scenes


def test_only_where_one_asks(database):
    assert [hit.scene for hit in found(database, "knife onions", columns=("seen",))] == [1]
    assert not found(database, "onions", columns=("seen", "heard"))
    assert {hit.video for hit in found(database, "dog car", video="street")} == {"street"}
    assert not found(database, "onions", video="street")
    [hit] = found(database, "onions", after=20.0)
    assert (hit.first, hit.last) == (2, 2), "what has ended by then is no answer"


@given(
    st.text()
    | st.lists(st.sampled_from(['"', "AND", "*", "a", "(", "^", "-", "+", ":"])).map(" ".join)
)
def test_no_query_breaks_the_search(database_of_module, words):
    try:
        hits = found(database_of_module, words)
    except UsageError as error:
        assert "no word" in str(error)
        assert not terms_of(words)
    else:
        assert len(hits) <= 10


@pytest.fixture(scope="module")
def database_of_module(database: Path) -> Iterator[Path]:
    yield database


@pytest.mark.parametrize("words", ["", "  ", "*", '""', "++ --"])
def test_nothing_to_look_for_is_said_in_one_line(words):
    with pytest.raises(UsageError, match="no word to look for"):
        match_expression(words)


def test_what_is_said_is_shown_with_its_time_though_a_description_quotes_it(tmp_path):
    quoted = {"description": 'Seen: person. Said: "Where is the train?".'}
    speech = said("Hello.", "Where is the train?", start=4)
    with SqliteSink(tmp_path / "search.db") as sink:
        sink.write(video("v", scene(0, speech=speech, description=quoted)))
    [hit] = found(tmp_path / "search.db", "train")
    assert (hit.column, hit.time) == ("said", 6)


def test_a_scene_that_fits_far_worse_is_an_answer_of_its_own(database):
    hits = found(database, '"makes you cry" kitchen onions pan')
    assert next(hit.scene for hit in hits if hit.video == "kitchen") == 2
    assert len(hits) > 1


@given(st.text(alphabet="ab c\n\x02\x03"), st.integers(0, 400))
def test_snippets_are_short_and_no_text_breaks_them(text, more):
    snippet = snippet_of(text + " word" * more)
    assert len(plain(snippet.text)) <= WIDEST + 2
    assert "\n" not in snippet.text


def test_a_snippet_is_around_the_words_that_were_found():
    text = "before " * 100 + "\x02onions\x03" + " after" * 100
    snippet = snippet_of(text)
    assert "\x02onions\x03" in snippet.text
    assert snippet.text[0] == snippet.text[-1] == "…"
