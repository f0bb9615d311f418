"""The words of a scene's record, by what they tell: what was said, seen, heard, described.

A record's fields are found by name. One that is missing or null has no words, and one that is laid
out otherwise gives all the words in it: a new field within needs no change here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from engine import writable

Column = Literal["said", "seen", "heard", "described"]

COLUMNS: tuple[Column, ...] = get_args(Column)

FIELDS: Mapping[Column, tuple[str, ...]] = {
    "said": ("speech",),
    "seen": ("objects",),
    "heard": ("sounds",),
    "described": ("description", "captions"),
}
"""The record's fields that each column is made of."""

NO_WORDS = frozenset(
    {"made_by", "file", "frame", "frames", "ids", "language", "model", "speaker", "why", "words"}
)
"""Names of what is no text of its own: file names, models, the words of a segment one by one."""

MARKS = ("\x02", "\x03")
"""Stand around a word that a query found, where a text shows it."""

PASSAGE = "\n"
"""Stands between the passages of a text: the segments of speech, the single labels."""

_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_SPACES = re.compile(" ?(\x02?[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]\x03?) ")


def texts_of(record: Mapping[str, Any]) -> dict[Column, str]:
    """The text of each column, "" where there is none."""
    texts = {
        column: PASSAGE.join(passage for field in fields for passage in passages(record.get(field)))
        for column, fields in FIELDS.items()
    }
    if segments := segments_of(record):
        texts["said"] = PASSAGE.join(" ".join(passages(one["text"])) for one in segments)
    return texts


def passages(value: Any) -> Iterator[str]:
    """The texts in a field, in order, each on one line."""
    if isinstance(value, str):
        text = " ".join(writable(value).replace("\0", " ").split())
        if text:
            yield text
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in NO_WORDS:
                yield from passages(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from passages(inner)


def segments_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The segments of speech that have a text, in order: one for each passage of what was said."""
    speech = record.get("speech")
    found = speech.get("segments") if isinstance(speech, Mapping) else speech
    if not isinstance(found, list | tuple):
        return []
    return [one for one in found if isinstance(one, Mapping) and any(passages(one.get("text")))]


def spaced(text: str) -> str:
    """The text with Chinese and Japanese characters apart, as words: nothing else says where a word
    begins there. A word of several characters is then found as a phrase."""
    return _UNSPACED.sub(r" \1 ", text)


def unspaced(text: str) -> str:
    """The text as it was before `spaced`, but for spaces that stood there already."""
    return _SPACES.sub(r"\1", text)
