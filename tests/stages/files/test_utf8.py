"""Text that any file can hold."""

from hypothesis import given
from hypothesis import strategies as st

from engine import writable
from stages.files.utf8 import writable_row


@given(st.text())
def test_nothing_but_lone_surrogates_changes(text: str) -> None:
    made = writable(text)

    made.encode("utf-8")
    assert len(made) == len(text)
    assert all(
        new == old or (new == "?" and "\ud800" <= old <= "\udfff")
        for new, old in zip(made, text, strict=True)
    )


def test_of_a_row_only_texts_change() -> None:
    row = {"title": "half a \ud83d", "frames": 3, "duration": None, "boxes": ["\ud83d"]}

    assert writable_row(row) == row | {"title": "half a ?"}
