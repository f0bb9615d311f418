"""Draws what was at work when: one after the other, and side by side, on one axis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.picture import OTHER, OWN
from benchmarks.scenes_path import Chain, RunLog

HEIGHT = 0.7
LATER = "#d08c2f"


def draw_timeline(
    in_turn: Mapping[str, float],
    own: RunLog,
    steps: Sequence[str],
    path: Chain,
    faster: float,
    file: Path,
) -> None:
    """Write a PNG. `in_turn` are seconds one after the other, by what they were spent on; those of
    `own` and `path` are multiplied by `faster`. What is on the longest chain has another colour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [step for step in steps if any(one.step == step for one in own.attempts)]
    figure, (above, below) = pyplot.subplots(
        2,
        1,
        figsize=(10, 0.32 * (len(in_turn) + len(shown)) + 2),
        layout="constrained",
        gridspec_kw={"height_ratios": [len(in_turn) + 1, len(shown) + 1]},
    )
    _in_turn(above, in_turn)
    _side_by_side(below, own, shown, path, faster)
    above.set_title("One after the other", fontsize=9, loc="left")
    below.set_title("Penstock (orange: the chain that bounds it)", fontsize=9, loc="left")
    below.set_xlabel("seconds", fontsize=8)
    figure.suptitle("A film of an hour and 75 scenes", fontsize=11, fontweight="bold")
    figure.savefig(file, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _in_turn(panel: Any, seconds: Mapping[str, float]) -> None:
    begin = 0.0
    for row, length in enumerate(seconds.values()):
        panel.barh(row, length, left=begin, height=HEIGHT, color=OTHER)
        panel.text(begin + length, row, f" {length:.1f} s", va="center", fontsize=7)
        begin += length
    _axis(panel, list(seconds), begin)


def _side_by_side(
    panel: Any, log: RunLog, steps: Sequence[str], path: Chain, faster: float
) -> None:
    bound = {(leg.item, leg.step) for leg in path.legs}
    for one in log.attempts:
        color = LATER if (one.item, one.step) in bound else OWN
        start, length = faster * one.start, faster * (one.end - one.start)
        panel.barh(
            steps.index(one.step),
            max(length, faster * log.seconds / 1000),
            left=start,
            height=HEIGHT,
            color=color,
            alpha=0.6,
        )
    _axis(panel, steps, faster * log.seconds)


def _axis(panel: Any, names: Sequence[str], end: float) -> None:
    panel.set_yticks(range(len(names)))
    panel.set_yticklabels(names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlim(0, 1.06 * end)
    panel.tick_params(labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
