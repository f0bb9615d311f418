"""The stages' shares of the processor time that was spent outside the workers' own threads.

A decoder, a model or an HTTP client works partly in threads of its own, a stage on the event loop
wholly, and no thread tells its stage. But the timing shows each stage's share: the ledger has the
processor time of the whole run at the end of every attempt, and between two such moments it grows
by the use of the attempts then under way.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.bench.model.attempts import PastAttempt

SPANS = 200
"""The most spans of time into which a run is divided for this."""

ATTEMPTS_A_SPAN = 4
"""The least number of attempts that end in a span. An end is recorded shortly after the work, so in
a shorter span the work of one stage would count for another."""

SPANS_A_STAGE = 5
"""The least number of spans for each stage, so that the stages can be told apart."""

SWEEPS = 500
"""Rounds of coordinate descent; a few unknowns converge in far fewer."""

Array = NDArray[np.float64]


def helper_cores(
    attempts: Sequence[PastAttempt],
    occupied: Mapping[int, float],
    stages: Sequence[str],
    apart: Iterable[str] = (),
) -> dict[str, float]:
    """The mean number of cores that each stage keeps busy beside its own thread during an attempt.
    Empty where the ledger has no processor times.

    Non-negative least squares: for each span of time, the growth of the run's processor time less
    that of the workers' threads is the sum over stages of attempts' seconds under way times the
    stage's cores. `occupied` are an attempt's seconds by its id; stages in `apart` work in
    processes of their own, which measure themselves.
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
            span = seconds + (attempt.blocked or 0.0)
            passed = np.clip(moments - attempt.started, 0.0, span) * (seconds / span)
            under_way[:, stages.index(attempt.stage)] += passed
            own += passed * ((attempt.processor or 0.0) / seconds)
    rest = grown - np.diff(own)
    matrix = np.diff(under_way, axis=0)
    found = np.ones(len(stages))
    if len(rest) >= SPANS_A_STAGE * len(stages):
        found = _non_negative(matrix, rest)
    # Scale the parts so that they add up to the measured whole, however well they fit.
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
