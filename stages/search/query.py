"""The words that a person typed, as a query for full-text search.

Every text is a safe query: what FTS5 would take for its syntax (`AND`, `*`, `C++`, `what's`) is
quoted, and so is no more than words. A scene is found by any of them, and the more of them it has,
and the rarer they are, the further up it stands.
"""

import re
from collections.abc import Mapping, Sequence

from engine import UsageError, writable
from stages.sinks.texts import Column, spaced

PLACES: Mapping[str, Column] = {
    "speech": "said",
    "objects": "seen",
    "sounds": "heard",
    "descriptions": "described",
}
"""The columns by the names that people are told."""

PLACE_OF: Mapping[Column, str] = {column: place for place, column in PLACES.items()}

_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')


def terms_of(words: str) -> list[str]:
    """The terms in what was typed, each once: words, and phrases that stand in quotes. What holds
    no letter and no digit is none."""
    text = writable(words).replace("\0", " ")
    found = (" ".join((phrase or word).split()) for phrase, word in _TERM.findall(text))
    return list(dict.fromkeys(term for term in found if any(map(str.isalnum, term))))


def match_expression(words: str, columns: Sequence[Column] = ()) -> str:
    """The FTS5 expression for scenes with any of the words, in these columns; () is all of them.
    Raises UsageError where there is no word."""
    terms = terms_of(words)
    if not terms:
        raise UsageError(f"there is no word to look for in {words!r}; give some")
    any_of = " OR ".join('"{}"'.format(spaced(term).replace('"', '""')) for term in terms)
    return f"{{{' '.join(columns)}}} : ({any_of})" if columns else any_of
