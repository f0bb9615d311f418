"""Whose work the processor did outside the workers' own threads.

A decoder, a model or an HTTP client does part of its work in threads of its own, a stage on the
event loop all of it, and no thread says for whom it works. But each stage's share shows in when the
work is done: the ledger has what the whole run had used at the end of every attempt, and between
two of these moments it has grown by what those attempts used that were under way.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.bench.model.attempts import PastAttempt

SPANS = 200
"""Spans of time, at most, into which a run is divided for it."""

ATTEMPTS_A_SPAN = 4
"""Attempts that end in a span, at least: an end is noted somewhat after the work, so in a
shorter span the work of one stage would count for another."""

SPANS_A_STAGE = 5
"""Spans for each stage that it takes, at least, to tell the stages apart."""

SWEEPS = 500
"""Rounds of coordinate descent; a handful of unknowns settles in far fewer."""

Array = NDArray[np.float64]


def helper_cores(
    attempts: Sequence[PastAttempt],
    occupied: Mapping[int, float],
    stages: Sequence[str],
    apart: Iterable[str] = (),
) -> dict[str, float]:
    """How many cores, on average, each stage keeps busy beside its own thread while an attempt is
    under way. Empty where the ledger does not know the processor's time.

    Non-negative least squares: for each span of time, the growth of the run's processor time less
    that of the workers' threads is the sum over stages of attempts' seconds under way times the
    stage's cores. `occupied` are an attempt's seconds by its id; stages `apart` work in processes
    of their own, which count themselves.
    """
    apart = set(apart)
    inside = [attempt for attempt in attempts if attempt.stage not in apart]
    known = [(a.ended, a.run_processor) for a in attempts if a.run_processor is not None]
    if len(known) < 2 or not inside:
        return {}
    times, used = np.array(sorted(known)).T
    used = np.maximum.accumulate(used)
    spans = max(1, min(SPANS, len(times) // ATTEMPTS_A_SPAN))
    moments = times[np.linspace(0, len(times) - 1, spans + 1).astype(int)]
    moments = np.unique(moments)
    grown = np.diff(used[np.searchsorted(times, moments)])
    own = np.zeros(len(moments))
    under_way = np.zeros((len(moments), len(stages)))
    for attempt in inside:
        seconds = occupied[attempt.id]
        if seconds > 0:
            passed = np.clip(moments - attempt.started, 0.0, seconds)
            under_way[:, stages.index(attempt.stage)] += passed
            own += passed * ((attempt.processor or 0.0) / seconds)
    rest = grown - np.diff(own)
    matrix = np.diff(under_way, axis=0)
    found = np.ones(len(stages))
    if len(rest) >= SPANS_A_STAGE * len(stages):
        found = _non_negative(matrix, rest)
    # Nothing of the whole is lost or made up, however well the parts fit.
    explained = (matrix @ found).sum()
    found *= max(0.0, rest.sum() / explained) if explained > 0 else 0.0
    return dict(zip(stages, found.tolist(), strict=True))


def _non_negative(matrix: Array, values: Array) -> Array:
    """Least squares with no unknown under 0, by cyclic coordinate descent (Franc, Hlavac and
    Navara, "Sequential coordinate-wise algorithm for the non-negative least squares problem",
    2005), which converges as the problem is convex."""
    products, target = matrix.T @ matrix, matrix.T @ values
    found = np.zeros(len(target))
    for _ in range(SWEEPS):
        for number in range(len(found)):
            if products[number, number] > 0:
                slope = products[number] @ found - target[number]
                found[number] = max(0.0, found[number] - slope / products[number, number])
    return found
