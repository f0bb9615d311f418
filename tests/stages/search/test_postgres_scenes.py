"""What is in Postgres is found by the same questions as what is in SQLite, in the same order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from stages.persistence.store import Store, StoreSettings, find_embedder
from stages.search import postgres_scenes
from tests.stages.search.test_meaning import server
from tests.stages.search.test_searching import KITCHEN, STREET

__all__ = ["server"]

QUESTIONS: Sequence[Sequence[str]] = (
    ("chop", "onion"),
    ("dinner",),
    ("what's",),
    ("C++",),
    ('"makes you cry"',),
    ('"cry you makes"',),
    ("sizzling", "AND", "pans"),
    ("世界",),
    ("dog", "--in", "speech"),
    ("onions", "--after", "0:20"),
    ("dog", "--video", "Street"),
    ("'",),
    ("aaa", "--trust"),
    ("aaa", "--trust", "--words-only"),
)


@pytest.fixture
def both(tmp_path: Path, schema: str, server: Any) -> tuple[Path, str]:
    """A work folder whose videos are in both databases, with vectors, and the schema."""
    settings = StoreSettings(
        sinks=("sqlite", "postgres"),
        postgres_schema=schema,
        meaning="api",
        model="m",
        base_url=server.url,
        api_key_env="EMBED_KEY",
    )
    store = Store(settings, tmp_path, find_embedder(settings))
    store.write(KITCHEN)
    store.write(STREET)
    store.close()
    return tmp_path, schema


def asked(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["search", str(folder), *words])


@pytest.mark.parametrize("whole", [postgres_scenes.WHOLE, 0])
def test_a_question_has_the_same_answers_in_both(
    both: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    """Also where there are so many scenes that only those are looked at that may answer."""
    folder, schema = both
    monkeypatch.setattr(postgres_scenes, "WHOLE", whole)
    for words in QUESTIONS:
        here = asked(folder, *words, "--json")
        there = asked(folder, *words, "--json", "--postgres", "DATABASE_URL", "--schema", schema)
        assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr), words
        if here.exit_code == 0:
            assert _places(there) == _places(here), words
        if here.exit_code == 0 and whole:
            assert there.stdout == here.stdout, words
    assert json.loads(asked(folder, "chop", "--json").stdout)


def _places(result: Result) -> list[tuple[str, int, str]]:
    return sorted((one["video"], one["scene"], one["in"]) for one in json.loads(result.stdout))


def test_the_question_is_embedded_once(both: tuple[Path, str], server: Any) -> None:
    folder, schema = both
    before = len(server.asked)
    told = asked(folder, "aaa", "--trust", "--postgres", "DATABASE_URL", "--schema", schema)
    assert told.exit_code == 0
    assert server.asked[before:] == [["aaa"]]
    told = asked(folder, "aaa", "--postgres", "DATABASE_URL", "--schema", schema)
    assert "--trust sends the question there" in told.stderr


def test_what_cannot_be_read_is_said_in_a_line(
    tmp_path: Path, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(*words: str) -> str:
        told = asked(tmp_path, "dog", *words)
        assert told.exit_code == 2
        [line] = told.stderr.splitlines()
        return line

    assert "--postgres DATABASE_URL" in problem()
    assert "nothing of Penstock's in the schema nowhere" in problem(
        "--postgres", "DATABASE_URL", "--schema", "nowhere"
    )
    assert "environment variable NOT_SET" in problem("--postgres", "NOT_SET")
    monkeypatch.setenv("AWAY", "postgresql://nobody:secret@127.0.0.1:1/none")
    line = problem("--postgres", "AWAY")
    assert "does not answer" in line
    assert "secret" not in line
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    assert "pip install 'penstock[postgres]'" in problem("--postgres", "DATABASE_URL")
