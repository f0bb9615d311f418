"""Paid answers on disk, by model, question and what was asked about, so that no call is ever paid
for twice; and what is being asked for right now, so that nobody else asks for it meanwhile.

FOLDER/<2 hex digits>/<62 more>.json, one small file an answer, renamed into place.
"""

import hashlib
import json
import os
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import aiofiles
import anyio
from anyio.to_thread import run_sync

A = TypeVar("A")
"""An answer."""

K = TypeVar("K", bound=Hashable)
"""The name of something that is asked for."""


class Landing(Protocol):
    """An event that is set once: anyio's among the tasks of an event loop, threading's among
    threads."""

    def set(self) -> object: ...


L = TypeVar("L", bound=Landing)


@dataclass(frozen=True, slots=True)
class Claim(Generic[K, L]):
    """The keys that are `mine` to ask for now, in order; and for those that others are asking for,
    the event that they set when they have ended."""

    mine: list[K]
    elsewhere: dict[K, L]


class InFlight(Generic[K, L]):
    """The keys that somebody is asking for, each with an event for whoever waits for it.

    What was asked for has to be kept before the block of `taken` ends, and looked for among what is
    kept after it has begun: then nothing is asked for twice. Who waits for others holds nothing
    meanwhile, so nobody waits in a circle. Safe to use from several threads.
    """

    def __init__(self, event: Callable[[], L]) -> None:
        self._event = event
        self._asked: dict[K, L] = {}
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, keys: Iterable[K]) -> Iterator[Claim[K, L]]:
        """Take the keys that nobody has taken, until the end of the block."""
        event = self._event()
        with self._lock:
            wanted = list(dict.fromkeys(keys))
            elsewhere = {key: self._asked[key] for key in wanted if key in self._asked}
            mine = [key for key in wanted if key not in elsewhere]
            self._asked |= dict.fromkeys(mine, event)
        try:
            yield Claim(mine, elsewhere)
        finally:
            with self._lock:
                for key in mine:
                    del self._asked[key]
            event.set()


class KeptAnswers(ABC, Generic[A]):
    """Answers to one kind of question: `identity` and the bytes asked about together decide one.

    One event loop uses it; another process may read the same folder, and should not write it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._of = dict(identity)
        self.identity = identity_digest(identity)
        self._in_flight: InFlight[str, anyio.Event] = InFlight(anyio.Event)

    @abstractmethod
    def parse(self, kept: Mapping[str, Any]) -> A | None:
        """The answer of an entry on disk; None, or a TypeError, where it holds no valid one."""

    @abstractmethod
    def entry(self, answer: A) -> dict[str, Any]:
        """The entry that is kept of an answer, JSON-able."""

    def key(self, asked: bytes, **more: Any) -> str:
        """The answer's name, 64 hex digits: SHA-256 of the identity and of what was asked about.
        `more` is what belongs to the identity and differs from question to question."""
        identity = identity_digest(self._of | more) if more else self.identity
        return hashlib.sha256(identity.encode() + hashlib.sha256(asked).digest()).hexdigest()

    def has(self, key: str) -> bool:
        """Whether the answer is on disk."""
        try:
            return self._parsed(self._path(key).read_text(encoding="utf-8")) is not None
        except (OSError, ValueError):
            return False

    async def read(self, key: str) -> A | None:
        """The answer on disk. None where there is none, where a power cut left it incomplete, or
        where it holds no valid answer."""
        path = self._path(key)
        try:
            async with aiofiles.open(path, encoding="utf-8") as file:
                answer = self._parsed(await file.read())
        except (FileNotFoundError, ValueError):
            return None
        with suppress(OSError):
            os.utime(path)  # used now, so `penstock prune` spares it
        return answer

    async def get(self, key: str, ask: Callable[[], Awaitable[A]]) -> A:
        """The answer on disk, or else the result of `ask`, which is on disk before it is returned.

        Of several concurrent calls for one key, one asks. If it fails, only that call raises the
        error: the next one asks for itself.
        """
        while True:
            with self._in_flight.taken([key]) as taken:
                if taken.mine:
                    return await self._read_or_ask(key, ask)
            await taken.elsewhere[key].wait()

    async def _read_or_ask(self, key: str, ask: Callable[[], Awaitable[A]]) -> A:
        answer = await self.read(key)
        if answer is None:
            answer = await ask()
            # The answer is paid for: a cancellation now must not lose it.
            with anyio.CancelScope(shield=True):
                await run_sync(_write, self._path(key), self.entry(answer))
        return answer

    def discard(self, key: str) -> None:
        """Keep the answer no longer: it turned out to be of no use."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"

    def _parsed(self, text: str) -> A | None:
        """The answer in the text. Raises ValueError where it is no JSON."""
        try:
            return self.parse(json.loads(text))
        except TypeError:
            return None


def identity_digest(identity: Mapping[str, Any]) -> str:
    """64 hex digits that identify these names and values, in any order."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _write(path: Path, entry: Mapping[str, Any]) -> None:
    """Put the entry in its place, then bring it to the disk: that takes long on a busy one, and a
    kill meanwhile must not lose what is paid for. A power cut may leave it incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".reply-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(entry, file, ensure_ascii=False)
            file.flush()
            temporary.replace(path)
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
