"""The figures of a run, each with its target: how long until a document is there, what calls took.

Kept as `WORKDIR/cache/figures.json` for the page, as of the last run that did something.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from engine import AttemptRecord, RunRecord
from stages.calls.sent_calls import SentCalls, read_calls

STORING = frozenset({"persist", "upload", "frame_upload"})
"""The steps after which all of a video is stored."""

WRITING, LOOKING = "write", "analyse"

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class RunFigure:
    """A figure in words, what it is of, and what was aimed at: "" where nothing was. `met` is None
    then."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None

    def line(self) -> str:
        """In one line."""
        aimed = f"; target: {self.target}{'' if self.met else ', MISSED'}" if self.target else ""
        return f"{self.name}: {self.value}{aimed}"


def figures_of(run: RunRecord, workdir: Path) -> list[RunFigure]:
    """The figures of a run; none of one that wrote no document."""
    ended = [one for one in run.attempts if one.ended is not None and one.outcome == "done"]
    written = [one for one in ended if one.step == WRITING]
    if not written:
        return []
    begun = _begun(run.attempts)
    stored = _last_ends(one for one in ended if one.step in STORING)
    calls = SentCalls()
    for step in dict.fromkeys(one.step for one in run.attempts):
        calls.add(read_calls(workdir, step))
    found = [
        _seconds("time until a document", [_end(one) - begun[one.item] for one in written], 30),
        _seconds("time until all is stored", [end - begun[of] for of, end in stored.items()], 60),
        _pace([one for one in ended if one.step == LOOKING]),
        *_of_calls(calls),
    ]
    if run.memory is not None:
        found.append(_amount("memory, at most", run.memory, 2000))
    if calls.up or calls.down:
        found.append(_amount("sent with calls", calls.up, 2 * len(written)))
        found.append(_amount("received", calls.down, 1 * len(written)))
    return [one for one in found if one is not None]


def keep_figures(found: Sequence[RunFigure], workdir: Path) -> None:
    """For the page."""
    file = _file(workdir)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{json.dumps([asdict(one) for one in found], indent=2)}\n")


def kept_figures(workdir: Path) -> list[RunFigure]:
    """Those of the last run that did something."""
    try:
        return [RunFigure(**one) for one in json.loads(_file(workdir).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _file(workdir: Path) -> Path:
    return workdir / "cache" / "figures.json"


def _begun(attempts: Iterable[AttemptRecord]) -> dict[str, float]:
    """When the first attempt at each item began."""
    found: dict[str, float] = {}
    for one in attempts:
        found.setdefault(_whole(one.item), one.started)
    return found


def _last_ends(attempts: Iterable[AttemptRecord]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in attempts:
        found[_whole(one.item)] = max(found.get(_whole(one.item), 0.0), _end(one))
    return found


def _end(attempt: AttemptRecord) -> float:
    assert attempt.ended is not None
    return attempt.ended


def _whole(item: str) -> str:
    return item.partition("/")[0]


def _seconds(name: str, seconds: Sequence[float], most: float) -> RunFigure | None:
    if not seconds:
        return None
    slowest = max(seconds)
    value = f"{slowest:.1f} s"
    if len(seconds) > 1:
        value = f"{median(seconds):.1f} s in the middle, {slowest:.1f} s at most"
    return RunFigure(name, value, f"under {most:g} s", slowest < most)


def _pace(looked: Sequence[AttemptRecord]) -> RunFigure | None:
    """Seconds in which frames were looked at, for each of them."""
    if not looked:
        return None
    busy, until = 0.0, 0.0
    for one in sorted(looked, key=lambda attempt: attempt.started):
        busy += max(0.0, _end(one) - max(one.started, until))
        until = max(until, _end(one))
    pace = busy / len(looked)
    return RunFigure(
        "a frame took", f"{pace:.2f} s ({len(looked)} frames)", "under 0.5 s", pace < 0.5
    )


def _of_calls(calls: SentCalls) -> Iterator[RunFigure]:
    if not (sent := calls.answered + calls.failed):
        return
    if calls.seconds:
        ordered = sorted(calls.seconds)
        middle, late = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        yield RunFigure(
            "a call took", f"{middle:.2f} s (p50), {late:.2f} s (p95)", "p95 under 10 s", late < 10
        )
    share = calls.answered / sent
    told = f"{share:.1%} ({calls.answered:,} of {sent:,})"
    if calls.paused:
        told += f", beside {calls.paused:,} that were to come later"
    yield RunFigure("calls answered", told, "over 99%", share > 0.99)


def _amount(name: str, number: int, most: float) -> RunFigure:
    megabytes = number / MEGABYTE
    return RunFigure(name, f"{megabytes:,.2f} MB", f"under {most:,g} MB", megabytes < most)
