"""The stretches of a video, as the extract stage hands them over."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from engine import Parts
from stages.files.folders import carry_info
from stages.media.cores import Cores

KEPT = "stretches.json"
"""The file with what earlier attempts know of the stretches that need not be made again."""


class Stretches:
    """The stretches of one video, in order, each of `length` seconds.

    `tone_mapped` are the kinds of high dynamic range in all of them; it is kept between attempts,
    as a stretch that is reused is not looked at again. `starts` are the seconds at which stretches
    begin, where this attempt knows them beforehand.
    """

    def __init__(self, parts: Parts, length: float, cores: Cores, video: Path, kept: Path) -> None:
        """`video` is the folder with the video and its description, `kept` a folder that survives
        the attempt."""
        self._parts = parts
        self._length = length
        self._cores = cores
        self._video = video
        self._file = kept / KEPT
        self._is_resumable = True
        self.starts: Sequence[Fraction] = ()
        known = _read(self._file)
        if known.get("length") != length:
            known = {}  # an earlier attempt cut the video elsewhere
        self._usable = int(known.get("made", 0))
        self.tone_mapped = set(known.get("tone_mapped", ()))

    def reuse(self) -> bool:
        """Whether an earlier attempt's stretch stands, and is used again."""
        return self._parts.position < self._usable and self._parts.reuse()

    def expect(self, count: int) -> None:
        """Say how many stretches there will be."""
        self._parts.expect(count)

    def begin_again(self) -> None:
        """Make all stretches anew, from the first one on, in another way than an attempt begins
        with: so the next attempt reuses none of them, nor of those made before."""
        self._file.unlink(missing_ok=True)
        self._is_resumable = False
        self._parts.begin_again()
        self.tone_mapped.clear()

    @contextmanager
    def make(self) -> Iterator[tuple[Path, TextIO]]:
        """A folder for the next stretch, with an empty frames/, and frames.jsonl to write to. It is
        handed over at the end of the block; while it waits for room the thread takes no core."""
        waiting = False
        try:
            with self._parts.make() as folder:
                (folder / "frames").mkdir()
                with (folder / "frames.jsonl").open("w") as lines:
                    yield folder, lines
                carry_info(self._video, folder)
                self._note()
                self._cores.give_back()
                waiting = True
        finally:
            if waiting:
                self._cores.take()

    def _note(self) -> None:
        """Note how many stretches stand that were cut as this attempt cuts them. The one in hand is
        not counted: until it is committed, one that was cut elsewhere may stand in its place, and
        so may others after it."""
        if self._is_resumable:
            known = {
                "length": self._length,
                "made": self._parts.position,
                "tone_mapped": sorted(self.tone_mapped),
            }
            self._file.write_text(json.dumps(known))


def _read(file: Path) -> dict[str, Any]:
    """What an earlier attempt has written; nothing if it was killed while it wrote."""
    try:
        known: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known
