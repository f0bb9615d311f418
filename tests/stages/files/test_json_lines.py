"""Files of JSON objects: what is written is read, and what a crash tore is passed over."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files.json_lines import append_line, read_lines, read_whole_lines, write_lines

text = st.text(st.characters(exclude_categories=["Cs"]))
entries = st.lists(st.dictionaries(text, text | st.integers() | st.none(), max_size=3), max_size=5)


@given(entries)
def test_what_is_written_is_read(written: list[dict[str, object]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        write_lines(path, written)

        assert read_lines(path) == written
        assert path.read_bytes().count(b"\n") == len(written)


def test_words_stay_readable_and_only_ends_of_lines_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    write_lines(path, [{"said": "jó napot\u2028\u0085"}, {}])

    assert path.read_text("utf-8") == '{"said": "jó napot\u2028\u0085"}\n{}\n'
    assert read_lines(path) == [{"said": "jó napot\u2028\u0085"}, {}]


def test_a_whole_file_that_is_torn_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": 1}\n{"b": ')

    with pytest.raises(ValueError):
        read_lines(path)


@given(st.lists(st.tuples(st.dictionaries(text, text, max_size=2), st.integers(0, 40))))
def test_a_crash_costs_the_line_it_tore_and_no_other(
    appended: list[tuple[dict[str, str], int]],
) -> None:
    """Each entry is followed by so many bytes of one that a crash kept from being written whole."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "lines.jsonl"
        for entry, torn in appended:
            append_line(path, entry)
            with path.open("ab") as file:
                file.write(b'{"torn": "before its last bracket, surely"'[:torn])

        assert list(read_whole_lines(path)) == [entry for entry, _ in appended]


def test_a_file_that_grows_may_be_missing_yet(tmp_path: Path) -> None:
    assert list(read_whole_lines(tmp_path / "lines.jsonl")) == []
