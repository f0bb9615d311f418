"""The requests of one step in one run: how many were answered, in what time, of how many bytes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine import note_paid_request

MOST_KEPT = 100_000
"""Answered requests whose seconds are kept; of more, these are the first ones."""


@dataclass(slots=True)
class SentCalls:
    """`answered` and `failed` requests: all that were sent. A 429 is neither: `paused`. `seconds`
    are those of each that was answered; `up` and `down` bytes of their bodies."""

    answered: int = 0
    failed: int = 0
    paused: int = 0
    up: int = 0
    down: int = 0
    seconds: list[float] = field(default_factory=list)

    def answer(self, seconds: float) -> None:
        """One was answered."""
        self.answered += 1
        note_paid_request()
        if len(self.seconds) < MOST_KEPT:
            self.seconds.append(round(seconds, 4))

    def add(self, other: "SentCalls") -> None:
        """Count another step's, too."""
        self.answered += other.answered
        self.failed += other.failed
        self.paused += other.paused
        self.up += other.up
        self.down += other.down
        self.seconds += other.seconds


def calls_file(workdir: Path, step: str) -> Path:
    return workdir / "cache" / "calls" / f"{step}.json"


def write_calls(workdir: Path, step: str, calls: SentCalls) -> None:
    """Keep those of the step's latest run."""
    file = calls_file(workdir, step)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(calls)))


def read_calls(workdir: Path, step: str) -> SentCalls:
    """Those of the step's latest run; none where nothing is known of it."""
    try:
        return SentCalls(**json.loads(calls_file(workdir, step).read_text()))
    except (OSError, ValueError, TypeError):
        return SentCalls()
