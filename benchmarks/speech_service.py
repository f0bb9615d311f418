"""A transcription server that takes its time and makes its words up, in a process of its own.

It has OpenAI's protocol. It reads of the sound how long it is, and answers with words that cover
all of it. `transcribing` is such a server for the length of a block.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.servers import Allowance
from benchmarks.steered import SteeredHandler, SteeredServer, Steering, steered

_OPUS_RATE = 48_000
_WORD, _SEGMENT = 0.5, 10.0
"""Seconds of a word and of a segment."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a call takes, and more for each second of sound; requests a minute, if there is
    a limit, evenly spaced."""

    call: float
    second: float = 0.0
    requests_per_minute: float | None = None


@dataclass
class CallsHeard:
    """What the server has seen: seconds of sound of each call that it answered, and how many it
    turned away."""

    seconds: list[float] = field(default_factory=list)
    turned_away: int = 0


def seconds_of(body: bytes) -> float:
    """The length of the Ogg or FLAC file in a form."""
    page = body.rfind(b"OggS")
    if page >= 0:
        return int.from_bytes(body[page + 6 : page + 14], "little") / _OPUS_RATE
    begin = body.find(b"fLaC") + 8
    numbers = int.from_bytes(body[begin + 10 : begin + 18], "big")
    return (numbers & (2**36 - 1)) / (numbers >> 44)


def told(seconds: float) -> dict[str, Any]:
    """An answer with words from the first second to the last one."""
    words = [
        {"word": "word", "start": _WORD * at, "end": min(_WORD * (at + 1), seconds)}
        for at in range(int(seconds / _WORD) + 1)
        if _WORD * at < seconds
    ]
    segments, each = [], int(_SEGMENT / _WORD)
    for at in range(0, len(words), each):
        some = words[at : at + each]
        segments.append(
            {
                "id": at // each,
                "start": some[0]["start"],
                "end": some[-1]["end"],
                "text": " word" * len(some),
            }
        )
    text = " ".join(["word"] * len(words))
    return {"language": "english", "text": text, "segments": segments, "words": words}


class _Handler(SteeredHandler):
    server: "_Server"

    def do_POST(self) -> None:
        began = time.monotonic()
        body = self.body()
        server = self.server
        if not server.admits():
            self.told({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429)
            return
        seconds = seconds_of(body)
        content = told(seconds)
        due = began + server.pace.call + server.pace.second * seconds
        time.sleep(max(0.0, due - time.monotonic()))
        with server.lock:
            server.heard.seconds.append(seconds)
        self.told(content)


class _Server(SteeredServer[Pace, CallsHeard]):
    def __init__(self) -> None:
        super().__init__(_Handler)

    def restart(self, pace: Pace) -> None:
        with self.lock:
            self.pace = pace
            self.heard = CallsHeard()
            allowed = pace.requests_per_minute
            self._allowance = None if allowed is None else Allowance(allowed)

    def tally(self) -> CallsHeard:
        with self.lock:
            return replace(self.heard, seconds=list(self.heard.seconds))

    def admits(self) -> bool:
        with self.lock:
            admitted = self._allowance is None or self._allowance.take()
            self.heard.turned_away += not admitted
            return admitted


SpeechService = Steering[Pace, CallsHeard]
"""The server in its process. `url` is its API's address."""


@contextmanager
def transcribing(pace: Pace) -> Iterator[SpeechService]:
    """A transcription server for the length of the block."""
    with steered(_Server, pace) as service:
        yield service
