"""`Parts`: how a splitting stage hands over the parts of its item, one by one, as it has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from engine.contract.job import NO_PARAMETERS, Parameters


class Positions:
    """A set of positions, a bit each: it may be asked in another process."""

    __slots__ = ("_bits",)

    def __init__(self, positions: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        for position in positions:
            self.add(position)

    def add(self, position: int) -> None:
        byte, bit = divmod(position, 8)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 1 << bit

    def discard(self, position: int) -> None:
        byte, bit = divmod(position, 8)
        if byte < len(self._bits):
            self._bits[byte] &= ~(1 << bit)

    def __contains__(self, position: int) -> bool:
        byte, bit = divmod(position, 8)
        return byte < len(self._bits) and bool(self._bits[byte] >> bit & 1)

    def __len__(self) -> int:
        return sum(byte.bit_count() for byte in self._bits)


NOTHING_STANDS = Positions()


@dataclass(frozen=True, slots=True)
class MadePart:
    """A part whose files are complete in the scratch folder `folder`."""

    position: int
    parameters: Parameters
    folder: Path


class PartsTaker(Protocol):
    """The engine's side of `Parts`. An async stage's part is taken by `atake`, any other's by
    `take`; both return once the part is committed and has been handed on."""

    def scratch(self, position: int) -> Path:
        """A fresh, empty folder for a part. May wait for the disk. Raises OSError."""

    def drop(self, folder: Path) -> None:
        """Delete the scratch folder of a part that was not completed. Does not raise."""

    def take(self, part: MadePart) -> None: ...

    async def atake(self, part: MadePart) -> None: ...

    def expect(self, count: int) -> None:
        """Pass on how many parts there will be, about. Returns at once, and does not raise."""


@dataclass(slots=True)
class Parts:
    """The parts that a splitting stage (`Stage.split`) makes of its item: in order, positions from
    0 on. Use it in the thread or task that `split` runs in.

    For each part, either `reuse` says that it stands, or it is made:

        with parts.make({"start": 0.0, "end": 10.0}) as folder:
            ...  # write its files into `folder`

    At the end of the block the part is committed, as atomically as any output, and goes on to the
    steps that stand at the parts, while `split` is still at work. The block's end waits for room in
    their inboxes; the time limit of the attempt stands still meanwhile. If the block raises,
    nothing of the part is left. An `async def split` uses `async with`.

    `position` is the next part's. At the end of `split` it is the number of the item's parts: any
    with a higher position that an earlier attempt made are removed.
    """

    _taker: PartsTaker
    _standing: Positions = field(default_factory=Positions)
    position: int = 0

    def reuse(self) -> bool:
        """Whether an earlier attempt's part stands at `position`. If so it is used again, and
        `position` is that of the part after it.

        For a stage that makes the same parts of the same input each time, and so need not make
        those again. A stage that does not ask makes all of them; the engine then keeps those whose
        files and parameters are the same, and what followed from them.
        """
        if self.position not in self._standing:
            return False
        self.position += 1
        return True

    def expect(self, count: int) -> None:
        """Say how many parts there will be in all, reused ones included, as soon as that is known.

        A hint for what shows the progress and the time left, and no promise: nothing follows from
        it, and it may be said again. Raises ValueError where it is no number of parts.
        """
        if count < 0:
            raise ValueError(f"parts.expect({count}): give a number of parts, 0 or more")
        self._taker.expect(count)

    def make(self, parameters: Mapping[str, Any] = NO_PARAMETERS) -> "NewPart":
        """The part at `position`, to be made in a `with` block. `parameters`, JSON-able, become its
        `item.parameters`. Raises ValueError where they are no JSON."""
        return NewPart(self, Parameters.of(parameters))

    def begin_again(self) -> None:
        """Make the parts anew from position 0, with none to reuse: what was handed over so far may
        differ from what comes. Parts that come out the same are kept."""
        self.position, self._standing = 0, NOTHING_STANDS


class NewPart:
    """A part in the making; a context manager, also an async one, that gives its folder."""

    def __init__(self, parts: Parts, parameters: Parameters) -> None:
        self._parts = parts
        self._parameters = parameters
        self._folder: Path | None = None

    def __enter__(self) -> Path:
        self._folder = self._taker.scratch(self._parts.position)
        return self._folder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        part = self._made(failed=kind is not None)
        if part is not None:
            self._taker.take(part)
            self._parts.position += 1

    async def __aenter__(self) -> Path:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        part = self._made(failed=kind is not None)
        if part is not None:
            await self._taker.atake(part)
            self._parts.position += 1

    @property
    def _taker(self) -> PartsTaker:
        return self._parts._taker

    def _made(self, *, failed: bool) -> MadePart | None:
        folder = self._folder
        assert folder is not None
        if failed:
            self._taker.drop(folder)
            return None
        return MadePart(self._parts.position, self._parameters, folder)
