"""The frames described so far, by perceptual hash, so that near-duplicates reuse a description.

The file holds one line for each frame with a description of its own: {"item", "file", "hash",
"reply"}, `hash` as 16 hex digits and `reply` the reply's key in the cache. It only grows; a last
line that a crash left incomplete is skipped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from stages.files.json_lines import append_line, read_whole_lines

if TYPE_CHECKING:
    import numpy.typing as npt

_FIRST_ROOM = 1024


@dataclass(slots=True, eq=False)
class Original:
    """A frame with a description of its own, from now or earlier. `frame` is "ITEM_ID/FILE"."""

    item: str
    file: str
    hash: int
    reply: str | None
    """The key of its reply in the cache; None while the call is in flight."""
    failed: bool = False
    settled: anyio.Event | None = None
    """Set once `reply` or `failed` is; None for frames that earlier runs described."""

    @property
    def frame(self) -> str:
        return f"{self.item}/{self.file}"

    def fail(self) -> None:
        """It gets no description after all. Wakes the tasks that wait for it."""
        self.failed = True
        if self.settled is not None:
            self.settled.set()

    async def wait(self) -> bool:
        """Wait for the reply. False when it failed."""
        if self.settled is not None:
            await self.settled.wait()
        return not self.failed


class Originals:
    """Every known original, in the order of arrival, searched by Hamming distance.

    A search is one pass over an array of unsigned 64-bit integers, on the event loop; its time
    grows with the originals, and `benchmarks/dedup_speed.py` measures it at a million. `file` keeps
    them between runs; None keeps them in memory only. One event loop uses it.
    """

    def __init__(self, distance: int, file: Path | None = None) -> None:
        import numpy as np

        self.distance = distance
        self.file = file
        self._known: list[Original] = []
        self._hashes: npt.NDArray[np.uint64] = np.zeros(_FIRST_ROOM, np.uint64)
        self._own: dict[str, dict[str, int]] = {}
        self._lock = anyio.Lock()
        if file is not None:
            # A frame with two lines was asked about again: the later line counts.
            latest = {original.frame: original for original in _read(file)}
            for original in latest.values():
                self._add(original)

    def claims(self, item: str, files: Sequence[str]) -> "Claims":
        """One attempt at these frames of an item, which are claimed in their order."""
        return Claims(self, item, frozenset(files))

    async def settle(self, original: Original, reply: str) -> None:
        """The original's reply is in the cache by this key. Wakes the tasks that wait for it."""
        known, original.reply = original.reply, reply
        if original.settled is not None:
            original.settled.set()
        if reply == known or self.file is None:
            return
        line = {"item": original.item, "file": original.file}
        line |= {"hash": f"{original.hash:016x}", "reply": reply}
        async with self._lock:
            await run_sync(append_line, self.file, line)

    def near(self, value: int) -> Iterator[tuple[int, Original]]:
        """Originals within the distance of `value`, with their positions: the nearest first, ties
        in the order of arrival.
        """
        import numpy as np

        from stages.neardup.hamming import within

        found, apart = within(value, self._hashes[: len(self._known)], self.distance)
        for position in found[np.argsort(apart, kind="stable")].tolist():
            if not self._known[position].failed:
                yield position, self._known[position]

    def _add(self, original: Original) -> int:
        import numpy as np

        position = len(self._known)
        if position == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[position] = original.hash
        self._known.append(original)
        self._own.setdefault(original.item, {})[original.file] = position
        return position


@dataclass(slots=True)
class Claims:
    """One attempt at an item, or at a part of one: its frames are claimed one by one, in order.

    Of its own frames only those claimed before in this attempt count, so an attempt after a killed
    one gives the same descriptions as a single attempt would.
    """

    originals: Originals
    item: str
    files: frozenset[str]
    claimed: set[int] = field(default_factory=set)

    def claim(self, file: str, value: int) -> tuple[Original, bool]:
        """The original whose description `file` takes, and whether that
        original is `file` itself."""
        for position, original in self.originals.near(value):
            is_own = original.item == self.item and original.file in self.files
            if not is_own or position in self.claimed:
                return original, False
        return self.claim_alone(file, value), True

    def claim_alone(self, file: str, value: int) -> Original:
        """`file` as an original of its own, without regard to near ones. Settle it."""
        position = self.originals._own.get(self.item, {}).get(file)
        known = None if position is None else self.originals._known[position]
        if known is None or known.hash != value or known.failed or known.reply is None:
            known = Original(self.item, file, value, None, settled=anyio.Event())
            position = self.originals._add(known)
        assert position is not None
        self.claimed.add(position)
        return known

    def end(self) -> None:
        """The attempt is over: nobody may wait for its originals that have no reply."""
        for position in self.claimed:
            original = self.originals._known[position]
            if original.reply is None:
                original.fail()


def _read(file: Path) -> Iterator[Original]:
    for entry in read_whole_lines(file):
        try:
            yield Original(entry["item"], entry["file"], int(entry["hash"], 16), entry["reply"])
        except (ValueError, KeyError, TypeError):  # not a line of this format
            continue
