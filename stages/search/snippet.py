"""A piece of a scene's text, around the words that were found in it."""

import re
from typing import NamedTuple

from stages.sinks.texts import MARKS, PASSAGE, unspaced

WIDEST = 160
"""Characters of a snippet, at most, without its marks."""

_MARKED = re.compile(f"{MARKS[0]}.*?{MARKS[1]}", re.DOTALL)


class Snippet(NamedTuple):
    """The piece, with MARKS around what was found; the passage of the text that it is of, from 0;
    and the number of different words found in the whole text."""

    text: str
    passage: int
    words: int


def snippet_of(marked: str) -> Snippet:
    """The best piece of a text with MARKS around what was found: of the passage with most of it."""
    passages = unspaced(marked).split(PASSAGE)
    found = [{one.lower() for one in _MARKED.findall(passage)} for passage in passages]
    best = max(range(len(passages)), key=lambda place: (len(found[place]), -place))
    words = len(set().union(*found))
    return Snippet(_cut(passages[best]), best, words)


def plain(text: str) -> str:
    """The text without marks."""
    return text.replace(MARKS[0], "").replace(MARKS[1], "")


def _cut(passage: str) -> str:
    """At most WIDEST characters around the first mark, from a word's beginning to a word's end."""
    if len(plain(passage)) <= WIDEST:
        return passage
    first = max(passage.find(MARKS[0]), 0)
    begin = max(first - WIDEST // 3, 0)
    if begin:
        begin = passage.find(" ", begin, first) + 1 or first
    end = begin + WIDEST
    if end < len(passage):
        space = passage.rfind(" ", begin, end)
        end = space if space > first else end
    text = passage[begin:end].strip()
    if text.count(MARKS[0]) > text.count(MARKS[1]):
        text += MARKS[1]
    return f"{'…' if begin else ''}{text}{'…' if end < len(passage) else ''}"
