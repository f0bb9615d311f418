"""Paid replies about images on disk, so that no call is ever paid for twice."""

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.calls.kept_answers import KeptAnswers
from stages.vision.api import Reply, as_kept

MOST_LOOKED_AT = 2000
"""The most frames that are checked to find one that was answered."""


class ReplyCache(KeptAnswers[Reply]):
    """Replies to one kind of question about images."""

    def parse(self, kept: Mapping[str, Any]) -> Reply | None:
        return as_kept(Reply(**kept))

    def entry(self, answer: Reply) -> dict[str, Any]:
        return {"text": answer.text, "refusal": answer.refusal, "tokens": answer.tokens}


def has_answered(cache: ReplyCache, workdir: Path) -> bool:
    """Whether an earlier run had an answer to the same question about a frame in WORKDIR.

    Checks MOST_LOOKED_AT frames at most. Blocks.
    """
    frames = (
        frame
        for item in _entries(workdir / "items")
        for folder in (f"{item}/dedup", f"{item}/filter", *_in_parts(item, "filter"))
        for frame in _entries(f"{folder}/frames")
    )
    for frame in itertools.islice(frames, MOST_LOOKED_AT):
        try:
            if cache.has(cache.key(Path(frame).read_bytes())):
                return True
        except OSError:  # no frame, or deleted meanwhile
            continue
    return False


def _in_parts(item: str, stage: str) -> Iterator[str]:
    """The output folders of a stage at the parts of an item."""
    for folder in _entries(item):
        if folder.endswith(".parts"):
            yield from (f"{part}/{stage}" for part in _entries(folder))


def _entries(folder: Path | str) -> Iterator[str]:
    """The entries of a folder, none if it is missing."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.path for entry in entries)
    except OSError:
        return
