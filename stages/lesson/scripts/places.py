"""Where the values of a JSON text stand: for errors that name a line."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


LONGEST = 80
"""Characters of a name that are shown."""


class Place(NamedTuple):
    """A value: the names and numbers that lead to it, and where it begins in the text."""

    way: tuple[str | int, ...]
    begin: int


def places(text: str) -> Iterator[Place]:
    """Every value of a JSON text, in order, however deep. A name that stands twice in one object
    leads to two."""
    way: list[str | int] = []
    is_object: list[bool] = []
    awaits_name = False
    for token in TOKEN.finditer(text):
        word = token[0]
        if word in "}]":
            way.pop()
            is_object.pop()
            awaits_name = False
        elif word == ",":
            if is_object[-1]:
                awaits_name = True
            else:
                way[-1] = int(way[-1]) + 1
        elif word == ":":
            awaits_name = False
        elif awaits_name and word not in "{[":
            way[-1] = json.loads(word)
        else:
            yield Place(tuple(way), token.start())
            awaits_name = word == "{"
            if word in "{[":
                is_object.append(word == "{")
                way.append("" if word == "{" else 0)


def second_place(text: str) -> Place:
    """The first value whose name stands for the second time in its object. Raises LookupError."""
    seen: set[tuple[str | int, ...]] = set()
    for one in places(text):
        if one.way in seen:
            return one
        seen.add(one.way)
    raise LookupError("no name stands twice")


class Lines:
    """The lines of a JSON text's values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begins: dict[tuple[str | int, ...], int] = {}
        for way, begin in places(text):
            self._begins.setdefault(way, begin)

    def of(self, way: Sequence[str | int]) -> int:
        """The line of the value that `way` leads to; where there is none, of what it lacks in."""
        at = tuple(way)
        while at and at not in self._begins:
            at = at[:-1]
        return line_at(self._text, self._begins.get(at, 0))


def line_at(text: str, begin: int) -> int:
    return text.count("\n", 0, begin) + 1


def place_in_words(way: Sequence[str | int]) -> str:
    """As a person reads it: sections[2].text."""
    words = ""
    for one in way:
        name = f"[{one}]" if isinstance(one, int) else shown_name(one)
        words += f".{name}" if words and isinstance(one, str) else name
    return words


def shown_name(name: str) -> str:
    """A name of somebody else's file in one line: cut where it is long, escaped where it could
    steer a terminal."""
    short = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    return short if short.isprintable() else json.dumps(short)
