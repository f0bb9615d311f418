"""Lists of sources: what of a line is the source, where a line ends, and what is no list."""

import io
import os
from pathlib import Path

import pytest

from engine import UsageError
from engine.sources.lists import LONGEST_LINE, open_list


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed(content: str | bytes) -> list[str]:
    raw = content.encode() if isinstance(content, str) else content
    Path("urls.txt").write_bytes(raw)
    return list(open_list("urls.txt"))


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("http://a.example/0.mp4 # the first", "http://a.example/0.mp4"),
        ("http://a.example/0.mp4\t#the first", "http://a.example/0.mp4"),
        ("http://a.example/0.mp4 \t # one # two", "http://a.example/0.mp4"),
        ("http://a.example/0.mp4\u3000# wide", "http://a.example/0.mp4"),
        ("  http://a.example/0.mp4  ", "http://a.example/0.mp4"),
        ("http://a.example/#t=5", "http://a.example/#t=5"),
        ("http://a.example/a#b #c", "http://a.example/a#b"),
        ("videos/a.mp4 # mine", "videos/a.mp4"),
        ("\ufeff http://a.example/", "http://a.example/"),
        ("./#1.mp4", "./#1.mp4"),
        ("#1.mp4", None),
        ("; a note", None),
        ("] another", None),
        ("  ;http://a.example/", None),
        ("\ufeff# with a mark", None),
        ("\ufeff", None),
        (" \t ", None),
    ],
)
def test_what_of_a_line_is_the_source(line: str, source: str | None) -> None:
    assert listed(f"{line}\n") == ([] if source is None else [source])


def test_a_file_that_is_there_is_taken_by_its_whole_name(tmp_path: Path) -> None:
    for name in ("Lesson #3.mp4", "a # b", "#1.mp4"):
        Path(name).touch()
    assert listed("Lesson #3.mp4\n") == ["Lesson #3.mp4"]
    assert listed("Lesson #3.mp4 # the third\n") == ["Lesson #3.mp4"]
    assert listed("Lesson #4.mp4 # is not there\n") == ["Lesson"]
    assert listed(f"{tmp_path}/a # b #c\n") == [f"{tmp_path}/a # b"]
    assert listed(f"file://{tmp_path}/Lesson%20#3.mp4\n") == [f"file://{tmp_path}/Lesson%20#3.mp4"]
    assert listed(f"file://{tmp_path}/Lesson #3.mp4\n") == [f"file://{tmp_path}/Lesson #3.mp4"]
    assert listed("#1.mp4\n./#1.mp4\n") == ["./#1.mp4"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_newlines_end_lines(ending: str) -> None:
    assert listed(ending.join(["a", "b", "", "c"])) == ["a", "b", "c"]


@pytest.mark.parametrize("char", "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e")
def test_nothing_else_ends_a_line(char: str) -> None:
    assert listed(f"a{char}b.mp4\nc\n") == [f"a{char}b.mp4", "c"]


def test_a_file_whose_name_is_no_utf8_is_found_and_other_bytes_are_replaced() -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    Path(name).touch()
    assert listed(b"caf\xe9.mp4\nth\xe9.mp4\n") == [name, "th\ufffd.mp4"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_list_in_another_encoding_is_refused(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "http://a.example/\n".encode(encoding)
    with pytest.raises(UsageError, match=r"--from urls\.txt: is not UTF-8 text; save it as UTF-8"):
        listed(content)
    monkeypatch.setattr("engine.sources.standard_input.standard_input", lambda: io.BytesIO(content))
    with pytest.raises(UsageError, match="--from -: is not UTF-8 text"):
        list(open_list("-"))


def test_a_line_without_end_is_no_list() -> None:
    with pytest.raises(UsageError, match=r"--from urls\.txt: line 2 has over 1,048,576 bytes"):
        listed(b"a\n" + b"x" * (2 * LONGEST_LINE + 1))
    assert len(listed((b"a" * 999 + b"\r") * 2000)) == 2000
    assert listed("x" * 100_000) == ["x" * 100_000]
