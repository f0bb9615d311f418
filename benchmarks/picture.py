"""Draws a benchmark's result: the contestants side by side, each target beside its limit."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks.results import Measurement, Table, Target

OWN, OTHER, MISSED = "#0b6e99", "#9aa5ad", "#c2410c"


def draw(result: Measurement, path: Path) -> None:
    """Write a PNG: a panel for each table's first figure, and one for the targets."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    heights = [len(table.rows) + 1.2 for table in result.tables]
    if result.targets:
        heights.append(1.3 * len(result.targets) + 1.2)
    figure, axes = pyplot.subplots(
        len(heights),
        1,
        figsize=(9, 0.34 * sum(heights) + 0.6),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    for panel, table in zip(axes[:, 0], result.tables, strict=False):
        _bars(panel, table)
    if result.targets:
        _targets(axes[-1, 0], result.targets)
    note = " (quick: not to be quoted)" if result.quick else ""
    figure.suptitle(f"{result.title}{note}", fontsize=11, fontweight="bold")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _bars(panel: Any, table: Table) -> None:
    key = next(iter(table.rows[0].figures))
    rows = [row for row in table.rows if key in row.figures]
    names = [row.name for row in rows]
    values = [row.figures[key] for row in rows]
    colors = [OWN if "penstock" in name.lower() else OTHER for name in names]
    medians = [value.median for value in values]
    errors = [
        [value.median - value.low for value in values],
        [value.high - value.median for value in values],
    ]
    panel.barh(names, medians, xerr=errors, color=colors, height=0.62, error_kw={"lw": 1})
    panel.invert_yaxis()
    panel.set_title(f"{table.title}: {key}", fontsize=9, loc="left")
    _plain(panel)


def _targets(panel: Any, targets: Sequence[Target]) -> None:
    """Each value as a share of its limit, so that all fit one axis."""
    for place, target in enumerate(targets):
        limit = target.limit or 1.0
        low, median, high = (
            getattr(target.value, key) / limit for key in ("low", "median", "high")
        )
        color = OWN if target.met else MISSED
        panel.plot([low, high], [place, place], color=color, lw=2)
        panel.plot([median], [place], "o", color=color)
    panel.axvline(1, color="black", lw=1, ls="--")
    panel.set_yticks(range(len(targets)))
    labels = [
        f"{target.what} ({'≥' if target.at_least else '≤'} {target.limit:g})" for target in targets
    ]
    panel.set_yticklabels([fill(label, 50) for label in labels])
    panel.set_ylim(len(targets) - 0.4, -0.6)
    panel.set_xlim(left=0)
    panel.set_title("Targets: the value as a share of its limit (dashed)", fontsize=9, loc="left")
    _plain(panel)


def _plain(panel: Any) -> None:
    panel.tick_params(labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
