"""Runs of `penstock scenes` over the demo's films, and servers that count what was paid for."""

import hashlib
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.demo.answering import CHAT, SPEECH, describe, hear
from stages.demo.films import settings as film_settings
from stages.demo.server import Exchange, MediaServer, Route
from tests.acceptance.command import PENSTOCK, Ran, penstock, settings

KEY = "DEMO_API_KEY"
"""The environment variable with the key that a run sends."""

ASKING: Mapping[str, Any] = {
    "stages.transcribe.workers": 1,
    "stages.describe_scenes.workers": 2,
    "stages.summary.workers": 1,
}

DISCARDING: Mapping[str, Any] = {
    **ASKING,
    "stages.download.keep": False,
    "stages.audio.keep": False,
}
"""What a disk has room for: no video and no track that nobody reads any more."""

TWO_AT_ONCE: Mapping[str, Any] = {
    "stages.download.workers": 2,
    "stages.audio.workers": 2,
    "stages.chunks.workers": 2,
    "stages.scenes.workers": 2,
    "stages.fuse.workers": 2,
    "stages.transcribe.workers": 2,
    "stages.describe_scenes.workers": 4,
    "stages.summary.workers": 2,
    "stages.persist.workers": 2,
}
"""Two videos side by side in every step that takes whole ones, and their parts mixed."""

KILLED: Mapping[str, Any] = {"defaults.attempts": 100}
"""Settings of runs that are killed: what is tried alone then, a few times by chance, is not to be
taken for what killed them."""


def in_hand(sets: Mapping[str, Any]) -> int:
    """The most questions that a run of these settings has asked whose answers it has not kept: each
    worker asks one at a time, and keeps the answer before it asks another."""
    return sum(int(sets[name]) for name in ASKING)


@dataclass(frozen=True)
class PaidCall:
    """A call: where to, a digest of what was asked, and the key, which tells the runs apart."""

    path: str
    asked: str
    key: str


@dataclass
class Paid:
    """Answers as the demo's servers do, after `latency` seconds, and remembers every call."""

    latency: float = 0.1
    calls: list[PaidCall] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def routes(self) -> Mapping[str, Route]:
        return {CHAT: self._counting(describe), SPEECH: self._counting(hear)}

    def _counting(self, route: Route) -> Route:
        def counted(exchange: Exchange) -> None:
            if len(exchange.content) < int(exchange.headers["Content-Length"]):
                return  # whoever asked was killed before the whole question was sent
            digest = hashlib.sha256(exchange.content).hexdigest()
            key = (exchange.headers["Authorization"] or "").removeprefix("Bearer ")
            with self.lock:
                self.calls.append(PaidCall(exchange.path, digest, key))
            time.sleep(self.latency)
            route(exchange)

        return counted

    def times(self, path: str | None = None, key: str | None = None) -> Counter[str]:
        """How often each thing was asked: at this path or any, with this key or any."""
        with self.lock:
            return Counter(
                one.asked
                for one in self.calls
                if path in (None, one.path) and key in (None, one.key)
            )


@dataclass(frozen=True)
class ScenesCommand:
    """`penstock scenes` over these films, with the demo's models, asking the server at `url`."""

    films: Sequence[Path]
    url: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def words(self, out: Path, films: Sequence[Path] | None = None, **more: Any) -> list[str]:
        sets = [one for text in film_settings(self.url, None) for one in ("--set", text)]
        sets += settings({"limits.free_disk": 0}, self.more, more)
        return ["scenes", *map(str, films or self.films), "--out", str(out), *sets, "--quiet"]

    def here(self, out: Path, films: Sequence[Path] | None = None, **more: Any) -> Ran:
        """Run it in this process."""
        return penstock(*self.words(out, films, **more))

    def apart(self, out: Path, **more: Any) -> list[str]:
        """As words for a process of its own, which tells its events on standard output."""
        return [str(PENSTOCK), *self.words(out, **more), "--log-json", "/dev/stdout"]


@contextmanager
def paid_servers(latency: float = 0.1) -> Iterator[tuple[Paid, str]]:
    """The servers, and the address of both."""
    paid = Paid(latency)
    with MediaServer(paid.routes()) as server:
        yield paid, server.url("/v1")


def records(out: Path) -> list[dict[str, Any]]:
    """The records of all scenes, in order."""
    lines = (out / "scenes" / "scenes.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of_films(out: Path, ids: Collection[str]) -> list[str]:
    """The lines of both tables that are about these videos."""
    folder = out / "scenes"
    return [
        line
        for name in ("scenes.jsonl", "videos.jsonl")
        for line in (folder / name).read_text().splitlines()
        if json.loads(line)["video"] in ids
    ]


def searchable(out: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds, whatever its rows' keys, and the turns that wrote them."""
    with closing(sqlite3.connect(out / "search.db")) as db:
        return {
            "videos": db.execute(
                "SELECT id, generation, document FROM videos ORDER BY id"
            ).fetchall(),
            "scenes": db.execute(
                "SELECT s.video, s.scene, s.begins, s.ends, s.record, w.said, w.seen, w.heard,"
                " w.described FROM scenes s JOIN words w ON w.rowid = s.key ORDER BY 1, 2"
            ).fetchall(),
            "words": db.execute("SELECT count(*) FROM words").fetchall(),
        }
