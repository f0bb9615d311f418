"""The times of frames, computed from the timestamps in the file. Pure arithmetic.

A frame's time is when it is shown, and one odd stamp proves nothing about the others. The decoder
gives frames in the order in which they are shown, so only the times are in question:

1. Stamps that never go back are taken as they are, with every gap between them.
2. A stamp far from the clock of its neighbours, before and after, is rejected. Its frame is shown
   one frame after the one before it. Up to `_FEW` frames in a row may be rejected; more, if the
   clock afterwards is where it would be without them.
3. A clock that jumps back, and stays there for more than `_FEW` frames, is a new recording. It
   continues where the one before it ends. (A clock that jumps forward leaves a gap: see 1.)
4. Within a recording the frames get its stamps in ascending order. So stamps in another order than
   the frames, such as decoding times, move no time by more than a few frames, and a stamp a little
   too early or too late moves nothing after it.
5. A frame without a stamp is shown one frame after the one before it. If the next stamp comes
   sooner than that, the frames in between share the time evenly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from statistics import median_high, median_low
from typing import NamedTuple

_FEW = 8
"""The most frames in a row that count as wrong together rather than as a new recording."""

_REORDER = 16
"""The most frames by which codecs reorder: a stamp further off is not merely reordered."""

_WINDOW = 12
"""Frames on each side of a small step back that show whether the clock has changed for good."""


@dataclass(frozen=True, slots=True)
class ShownTimes:
    """The times of a stream's frames, in the order in which they are shown."""

    ticks: Sequence[int]
    """One time per frame; none is lower than the one before it."""
    frame_duration: int
    """The usual time between a frame and the next, in ticks."""
    disbelieved: frozenset[int] = frozenset()
    """The frames whose stamp was rejected, since the others contradict it."""
    restarts: frozenset[int] = frozenset()
    """The frames at which a new recording begins: their clock is behind
    that of the frame before."""


class _Stamp(NamedTuple):
    frame: int
    ticks: int


_Recording = list[_Stamp]
"""Stamps of one clock, in the order of their frames. Not empty."""


def shown_times(stamps: Sequence[int | None], frame_duration: int) -> ShownTimes:
    """The times of frames with these stamps, by the rules above.

    `stamps` are in ticks, in the decoder's order of frames, None for a frame without one.
    `frame_duration` is a frame's length at the average rate; it serves where no better one is
    known.
    """
    known = [_Stamp(frame, ticks) for frame, ticks in enumerate(stamps) if ticks is not None]
    if not known:
        return ShownTimes([i * frame_duration for i in range(len(stamps))], frame_duration)
    usual = _usual_step(known, frame_duration)
    if len(known) == len(stamps) and all(a.ticks <= b.ticks for a, b in pairwise(known)):
        return ShownTimes([ticks for _, ticks in known], usual)
    believed = _believed(_continuous_runs(known, usual), usual)
    recordings = [
        _ascending(part) for one in believed for part in _split_at_lasting_steps(one, usual)
    ]
    step = _usual_step(list(chain.from_iterable(recordings)), frame_duration)
    placed: list[_Stamp] = []
    restarts = set()
    for recording in recordings:
        shift = 0
        if placed:
            frames = recording[0].frame - placed[-1].frame
            shift = placed[-1].ticks + frames * step - recording[0].ticks
            restarts.add(recording[0].frame)
        placed += [_Stamp(frame, ticks + shift) for frame, ticks in recording]
    disbelieved = {frame for frame, _ in known} - {frame for frame, _ in placed}
    ticks = list(_filled(placed, len(stamps), step))
    return ShownTimes(ticks, step, frozenset(disbelieved), frozenset(restarts))


def _usual_step(known: Sequence[_Stamp], frame_duration: int) -> int:
    """The usual distance between the stamps of two consecutive frames."""
    steps = [abs(b.ticks - a.ticks) // (b.frame - a.frame) for a, b in pairwise(known)]
    return median_low([step for step in steps if step] + [frame_duration])


def _ascending(recording: _Recording) -> _Recording:
    """The same frames with the same stamps, in ascending order."""
    ticks = sorted(stamp.ticks for stamp in recording)
    return [_Stamp(*it) for it in zip((stamp.frame for stamp in recording), ticks, strict=True)]


def _continuous_runs(known: Sequence[_Stamp], step: int) -> list[_Recording]:
    """The stamps, cut where they jump, forward or back, by more than reordering explains."""
    runs: list[_Recording] = []
    for stamp in known:
        jump = stamp.ticks - runs[-1][-1].ticks if runs else None
        if jump is None or abs(jump) > _REORDER * step:
            runs.append([])
        runs[-1].append(stamp)
    return runs


def _believed(runs: Sequence[_Recording], step: int) -> list[_Recording]:
    """The recordings in these runs, without the rejected runs.

    The cheapest explanation, by dynamic programming: each rejected frame costs one, and a new
    recording costs more than `_FEW` frames.
    """
    lengths = [0]
    for run in runs:
        lengths.append(lengths[-1] + len(run))
    costs: list[float] = []
    chosen: list[int | None] = []  # the accepted run before each run, if any
    for this, run in enumerate(runs):
        best: tuple[float, int | None] = (lengths[this], None)
        # Only the 2 * _FEW + 1 runs before are tried as predecessors: a file whose clock jumps all
        # the time has thousands of runs, and to try all pairs would take quadratic time.
        for before in range(this - 1, max(-1, this - 2 - 2 * _FEW), -1):
            skipped = float(lengths[this] - lengths[before + 1])
            last = runs[before][-1]
            expected = last.ticks + (run[0].frame - last.frame) * step
            if abs(run[0].ticks - expected) <= _REORDER * step:
                skipped = min(skipped, _FEW)
            elif run[0].ticks < last.ticks:
                skipped += _FEW + 0.5
            else:
                skipped += 0.01  # of two explanations prefer the one without a gap
            best = min(best, (costs[before] + skipped, before), key=lambda it: it[0])
        costs.append(best[0])
        chosen.append(best[1])
    total = lengths[-1]
    at: int | None = min(range(len(runs)), key=lambda i: costs[i] + total - lengths[i + 1])
    believed: list[_Recording] = []
    while at is not None:
        believed.append(runs[at])
        at = chosen[at]
    return list(_joined(reversed(believed), step))


def _joined(runs: Iterator[_Recording], step: int) -> Iterator[_Recording]:
    """The runs of one clock joined: a run that jumps back begins a new recording."""
    recording: _Recording = []
    for run in runs:
        if recording and run[0].ticks < recording[-1].ticks - _REORDER * step:
            yield recording
            recording = []
        recording += run
    yield recording


def _split_at_lasting_steps(recording: _Recording, step: int) -> Iterator[_Recording]:
    """Cut where the clock steps back a little and stays behind, as where an edit repeats frames.

    Only stamps that run evenly on both sides prove that: others may be merely out of order.
    """
    steps_back = [i for i, (a, b) in enumerate(pairwise(recording), 1) if b.ticks < a.ticks]
    if not steps_back:
        yield recording
        return
    ascending = _ascending(recording)
    step = _usual_step(ascending, step)
    first = 0
    for before, at, after in zip(
        [0, *steps_back], steps_back, [*steps_back[1:], len(recording)], strict=False
    ):
        old = [s.ticks - s.frame * step for s in recording[max(before, at - _WINDOW) : at]]
        new = [s.ticks - s.frame * step for s in recording[at : min(after, at + _WINDOW)]]
        back = median_high(old) - median_high(new)
        wander = max(max(old) - min(old), max(new) - min(new))
        if min(len(old), len(new)) > 2 and 2 * back > 3 * step and 2 * wander <= back:
            yield recording[first:at]
            first = at
    yield recording[first:]


def _filled(placed: Sequence[_Stamp], frames: int, step: int) -> Iterator[int]:
    """The times of all frames, from those of some; these ascend with the frames."""
    first, last = placed[0], placed[-1]
    for frame in range(first.frame):
        yield first.ticks - (first.frame - frame) * step
    for this, following in pairwise(placed):
        share = (following.ticks - this.ticks) // (following.frame - this.frame)
        for frame in range(this.frame, following.frame):
            yield this.ticks + (frame - this.frame) * min(step, share)
    for frame in range(last.frame, frames):
        yield last.ticks + (frame - last.frame) * step
