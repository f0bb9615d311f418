"""Words that were said against words that were heard: how many were lost, doubled, made up."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

Change = Literal["same", "other", "lost", "more"]


@dataclass(frozen=True, slots=True)
class WordCount:
    """`said` words. Of what was heard, `other` stand in the place of one that was said; `doubled`
    are there once more, beside what they repeat; `made_up` are the rest that nobody said."""

    said: int
    heard: int
    lost: int
    doubled: int
    made_up: int
    other: int


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case, without stops."""
    return re.findall("[a-z0-9']+", text.lower())


def counted(said: Sequence[str], heard: Sequence[str]) -> WordCount:
    """By an alignment with the fewest changes, where words repeat as where they do not."""
    counts = dict.fromkeys(("lost", "doubled", "made_up", "other"), 0)
    for change, some in groupby(_changes(said, heard), key=lambda one: one[0]):
        places = [place for _, place in some]
        if change == "more":
            is_double = _repeats(heard, places[-1], places[0] + 1)
            counts["doubled" if is_double else "made_up"] += len(places)
        elif change != "same":
            counts[change] += len(places)
    return WordCount(len(said), len(heard), **counts)


def _repeats(heard: Sequence[str], begin: int, end: int) -> bool:
    """Whether this stretch is what is heard right before or right after it."""
    some, length = heard[begin:end], end - begin
    return some in (heard[max(0, begin - length) : begin], heard[end : end + length])


def _changes(said: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[Change, int]]:
    """From the last word to the first: what happened, and the place among the words heard."""
    numbers: dict[str, int] = {}
    one, other = (
        np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)
        for words in (said, heard)
    )
    costs = _costs(one, other)
    at, to = len(one), len(other)
    while at or to:
        here = costs[at, to]
        same = at > 0 and to > 0 and one[at - 1] == other[to - 1]
        if at and to and here == costs[at - 1, to - 1] + (not same):
            at, to = at - 1, to - 1
            yield ("same" if same else "other"), to
        elif at and here == costs[at - 1, to] + 1:
            at -= 1
            yield "lost", to
        else:
            to -= 1
            yield "more", to


def _costs(one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
    """The fewest changes from the first words of one to the first words of the other (Levenshtein),
    of shape (len(one) + 1, len(other) + 1)."""
    places = np.arange(len(other) + 1, dtype=np.int32)
    costs = np.empty((len(one) + 1, len(other) + 1), np.int32)
    costs[0] = places
    for at, word in enumerate(one, 1):
        row = costs[at]
        row[0] = at
        row[1:] = np.minimum(costs[at - 1, 1:] + 1, costs[at - 1, :-1] + (other != word))
        # Each further word of the other costs one more than the cheapest before it.
        row[:] = np.minimum.accumulate(row - places) + places
    return costs
