"""The folder that an attempt writes into, and how it becomes an output: used by the pools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyio import to_thread

from engine.contract.item import Item
from engine.contract.parts import MadePart, Positions
from engine.ledger.outputs.folders import (
    commit_output,
    discard_partial,
    open_scratch,
    remove_scratch,
)
from engine.ledger.outputs.mark import stand_in_of


class Outputs(Protocol):
    """Makes outputs. Called from any thread; from the event loop only if `instant`."""

    instant: bool
    """Whether its calls return at once, so that no thread is needed for them."""

    def open(self, item: Item, stage: str, number: int) -> Path:
        """A fresh, empty folder for attempt `number` of this run. Raises OSError."""

    def commit(
        self,
        item: Item,
        stage: str,
        scratch: Path,
        fingerprint: str,
        expanded: int | None,
        parts: int | None,
    ) -> None:
        """Make `scratch` the output of `stage`, whole or not at all. Raises OSError."""

    def remove(self, scratch: Path) -> None:
        """Delete the scratch folder of an attempt that makes no output. Does not raise."""

    def discard_partial(self, item: Item, stage: str) -> None:
        """Delete what `stage` kept between attempts."""


class Handing(Protocol):
    """The run's side of an attempt that hands over parts."""

    standing: Positions
    """The parts of earlier attempts that need not be made again."""

    async def hand_over(self, part: MadePart, content: str) -> None:
        """Commit the part, whose scratch folder then is gone, and pass it on; called on the event
        loop, and returns once it has found room. `content` is that of `content_of`. Raises
        OSError, and an Ending where no further part is wanted."""

    def expect(self, count: int) -> None:
        """Tell listeners how many parts there will be, about; called on the event loop. Does not
        raise."""


class FolderOutputs:
    """The outputs of real runs: folders of a work folder, laid out as in
    engine/contract/item.py."""

    instant = False

    def __init__(self, *, synced: bool = True) -> None:
        """`synced`: an output is synced to the disk, safe from a power cut, before it counts."""
        self._synced = synced

    def open(self, item: Item, stage: str, number: int) -> Path:
        return open_scratch(item, stage, number)

    def commit(
        self,
        item: Item,
        stage: str,
        scratch: Path,
        fingerprint: str,
        expanded: int | None,
        parts: int | None,
    ) -> None:
        commit_output(item, stage, scratch, fingerprint, expanded, parts, synced=self._synced)

    def remove(self, scratch: Path) -> None:
        remove_scratch(scratch)

    def discard_partial(self, item: Item, stage: str) -> None:
        discard_partial(item, stage)


@dataclass(slots=True)
class Draft:
    """The output that one attempt is making: of `stage`, from `item`, to carry `fingerprint`.

    `number` differs for each attempt of a run at the item. `folder` is where the attempt writes;
    None before it is opened, and after it was removed or has become the output. The calls without
    an `a` may wait for the disk, so they belong in a thread.
    """

    outputs: Outputs
    item: Item
    stage: str
    fingerprint: str
    number: int = 1
    folder: Path | None = None
    handing: Handing | None = None
    """Where the attempt hands over parts, if its stage splits."""
    is_unwanted: bool = False
    """Its item was given up: it must not become an output."""

    def open(self) -> Path:
        self.folder = self.outputs.open(self.item, self.stage, self.number)
        return self.folder

    def commit(self, expanded: int | None = None, parts: int | None = None) -> None:
        assert self.folder is not None
        self.outputs.commit(self.item, self.stage, self.folder, self.fingerprint, expanded, parts)
        self.folder = None

    def stand_in(self) -> None:
        """It is to stand in for the output: no later run takes it for that."""
        self.fingerprint = stand_in_of(self.fingerprint)

    def remove(self) -> None:
        folder, self.folder = self.folder, None
        if folder is not None:
            self.outputs.remove(folder)

    async def aopen(self) -> Path:
        return self.open() if self.outputs.instant else await to_thread.run_sync(self.open)

    async def acommit(self, expanded: int | None = None) -> None:
        if self.outputs.instant:
            self.commit(expanded)
        else:
            await to_thread.run_sync(self.commit, expanded)

    async def aremove(self) -> None:
        if self.outputs.instant:
            self.remove()
        elif self.folder is not None:
            await to_thread.run_sync(self.remove)

    async def adiscard_partial(self) -> None:
        """Delete what the stage kept between attempts at this item."""
        discard = self.outputs.discard_partial
        if self.outputs.instant:
            discard(self.item, self.stage)
        else:
            await to_thread.run_sync(discard, self.item, self.stage)
