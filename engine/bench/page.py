"""bench.html: the results of a sweep as one page that opens from disk without a network."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from engine.bench.intervals import short
from engine.bench.render import edges, unit_of
from engine.bench.results import Results
from engine.bench.sweep import Rating
from engine.telemetry.text import size

BARS = 30
"""The most configurations in the bar charts, the best first; the scatter plot shows all."""

SHARED_BARS = 10
"""The most configurations whose stages are shown one by one."""

ROW, AROUND = 24, 90
"""Pixels of a bar, and of what is above and below all bars."""

BLUE, GREEN, GREY, AMBER, VIOLET = "#3b82c4", "#2f9e68", "#9aa5b1", "#d98a1f", "#8b5fbf"
"""Told apart on white and on black."""

Ratings = Sequence[Rating]

PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6875; --line: #d7dde3;
  --paper: #ffffff; --raised: #f4f6f8; --accent: $green; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --soft: #9aa7b4; --line: #36414c; --paper: #12171d; --raised: #1b222a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.25rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
.advice { border-left: 4px solid var(--accent); background: var(--raised);
  padding: .75rem 1rem; margin: 1rem 0; }
pre { margin: .75rem 0 0; overflow-x: auto; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td.text, th.text { text-align: left; }
td.problem { text-align: left; white-space: normal; color: #c2410c; }
tr.chosen td { font-weight: 700; }
.figure { width: 100%; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="soft">$facts</p>
<div class="advice">$advice</div>
$sections
<p class="soft"><code>$command</code></p>
<script>$plotly</script>
<script>
const figures = $figures;
function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const line = style.getPropertyValue("--line").trim();
  const axis = {gridcolor: line, zerolinecolor: line, linecolor: line};
  return {...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {...layout.font, color: ink}, xaxis: {...layout.xaxis, ...axis},
    yaxis: {...layout.yaxis, ...axis}};
}
function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    Plotly.react(id, figure.data, themed(figure.layout),
      {responsive: true, displaylogo: false, displayModeBar: false});
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
</script>
</body>
</html>
"""
)


def write_page(results: Results, path: Path) -> None:
    """Write the page; plotly's script is in it."""
    sections: list[str] = []
    figures: dict[str, go.Figure] = {}
    for key, title, found in (
        ("measured", "Measured", results.measured_ratings),
        ("predicted", "Predicted by the model", results.predicted_ratings),
    ):
        whole = [rating for rating in found if rating.problem is None]
        sections.append(_section(key, title, found, results) if found else "")
        if whole:
            figures |= _figures(key, whole, results)
    text = PAGE.substitute(
        title=escape(f"{results.pipeline}: how many workers"),
        green=GREEN,
        facts=escape(_facts(results)),
        advice=_advice(results),
        sections="".join(sections) + _checks(results),
        command=escape(results.command),
        plotly=get_plotlyjs(),
        figures=_script(figures),
    )
    path.write_text(text, encoding="utf-8")


def _script(figures: dict[str, go.Figure]) -> str:
    """The figures as JSON: no text in it can end the script element."""
    found = {key: json.loads(figure.to_json()) for key, figure in figures.items()}
    return json.dumps(found).replace("<", "\\u003c")


def _facts(results: Results) -> str:
    machine = results.machine
    runs = f"{len(results.measured)} runs" if results.measured else "no run, the model alone"
    stopped = "; interrupted" if results.interrupted else ""
    return (
        f"{results.items} items, {runs}{stopped}; {machine['cores']} cores, "
        f"{size(machine['memory'])} of memory, {machine['date']}"
    )


def _advice(results: Results) -> str:
    found = results.recommendation
    if found is None:
        return "<p>Nothing was measured to the end, so nothing is recommended.</p>"
    lines = [found.why, found.chosen.typical.sentence or "", *edges(results)]
    said = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f"{said}<pre>{escape(found.chosen.configuration.toml)}</pre>"


# Tables


def _section(key: str, title: str, found: Ratings, results: Results) -> str:
    unit, seconds = unit_of(found)
    head = [*results.tries, f"items a {unit}", "interval", "on items", "failed"]
    head += ["bottleneck", "memory", "disk"]
    rows = []
    for rating in found:
        workers = [str(count) for _, count in rating.configuration.pairs]
        if rating.problem is not None:
            rest = len(head) - len(workers)
            problem = f'<td class="problem" colspan="{rest}">{escape(rating.problem)}</td>'
            rows.append(f"<tr>{_cells(workers)}{problem}</tr>")
            continue
        rate = rating.throughput.times(seconds)
        cells = [*workers, short(rate.median), f"{short(rate.low)} to {short(rate.high)}"]
        cells += [str(rating.items), str(rating.failed), rating.typical.bottleneck or "none"]
        cells += [
            "" if peak is None else size(peak) for peak in (rating.peak_memory, rating.peak_disk)
        ]
        chosen = ' class="chosen"' if rating.configuration == results.recommended else ""
        rows.append(f"<tr{chosen}>{_cells(cells)}</tr>")
    return (
        f"<h2>{title}: throughput</h2>"
        f'<div class="figure" id="{key}-throughput"></div>'
        f'<div class="figure" id="{key}-cloud"></div>'
        f"<h2>{title}: where the workers' time went</h2>"
        f'<div class="figure" id="{key}-shares"></div>'
        f"<h2>{title}: in numbers</h2>{_table(head, rows)}"
    )


def _checks(results: Results) -> str:
    if not results.checks:
        return ""
    unit, seconds = unit_of(results.measured_ratings)
    rows = []
    for check in results.checks:
        rate = check.measured.times(seconds)
        cells = [str(count) for _, count in check.configuration.pairs]
        cells += [short(check.predicted * seconds), short(rate.median)]
        cells += [f"{short(rate.low)} to {short(rate.high)}", f"{check.error:+.1%}"]
        rows.append(f"<tr>{_cells(cells)}</tr>")
    head = [*results.tries, f"predicted, a {unit}", f"measured, a {unit}", "interval", "error"]
    return f"<h2>The model against the machine</h2>{_table(head, rows)}"


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


# Figures


def _figures(key: str, found: Ratings, results: Results) -> dict[str, go.Figure]:
    unit, seconds = unit_of(found)
    return {
        f"{key}-throughput": _throughput(found[:BARS], results, unit, seconds),
        f"{key}-cloud": _cloud(found, results, unit, seconds),
        f"{key}-shares": _shares(found[:SHARED_BARS], results),
    }


def _throughput(found: Ratings, results: Results, unit: str, seconds: int) -> go.Figure:
    """Bars with intervals, the best on top; the model's predictions beside them."""
    rates = [rating.throughput.times(seconds) for rating in found]
    names = [_name(rating) for rating in found]
    colors = [GREEN if one.configuration == results.recommended else BLUE for one in found]
    bars = go.Bar(
        x=[rate.median for rate in rates],
        y=names,
        orientation="h",
        marker_color=colors,
        error_x={
            "array": [rate.high - rate.median for rate in rates],
            "arrayminus": [rate.median - rate.low for rate in rates],
            "symmetric": False,
            "color": GREY,
        },
        name=f"items a {unit}",
        showlegend=False,
    )
    figure = go.Figure(bars, _layout(len(found), f"items a {unit}"))
    said = {check.configuration: check.predicted for check in results.checks}
    known = [one for one in found if one.configuration in said and not one.trials[0].simulated]
    if known:
        figure.add_scatter(
            x=[said[one.configuration] * seconds for one in known],
            y=[_name(one) for one in known],
            mode="markers",
            marker={"symbol": "diamond", "size": 11, "color": VIOLET},
            name="predicted",
        )
    return figure


def _cloud(found: Ratings, results: Results, unit: str, seconds: int) -> go.Figure:
    """Throughput over the total number of workers."""
    layout = go.Layout(
        height=320,
        margin={"l": 10, "r": 10, "t": 20, "b": 45},
        xaxis={"title": "workers in all", "rangemode": "tozero", "automargin": True},
        yaxis={"title": f"items a {unit}", "rangemode": "tozero", "automargin": True},
        template="none",
        showlegend=False,
    )
    points = go.Scatter(
        x=[one.configuration.total for one in found],
        y=[one.throughput.median * seconds for one in found],
        text=[_name(one) for one in found],
        hovertemplate="%{text}<br>%{y:.3g}<extra></extra>",
        mode="markers",
        marker={
            "size": 9,
            "color": [GREEN if one.configuration == results.recommended else BLUE for one in found],
        },
    )
    return go.Figure(points, layout)


def _shares(found: Ratings, results: Results) -> go.Figure:
    """For each configuration, how the workers of each stage spent their time."""
    rows = [(one, stage) for one in found for stage in results.stages]
    rows = [(one, stage) for one, stage in rows if stage in (one.typical.stages or {})]
    labels = [[_name(one) for one, _ in rows], [stage for _, stage in rows]]
    figure = go.Figure(layout=_layout(len(rows), "percent of the workers' time"))
    for what, color in (("busy", BLUE), ("starved", GREY), ("blocked", AMBER)):
        figure.add_bar(
            x=[100 * getattr((one.typical.stages or {})[stage], what) for one, stage in rows],
            y=labels,
            orientation="h",
            marker_color=color,
            name=what,
            hovertemplate="%{y}<br>%{x:.0f}%<extra>" + what + "</extra>",
        )
    figure.update_layout(barmode="stack", xaxis_range=[0, 100])
    return figure


def _layout(rows: int, title: str) -> go.Layout:
    return go.Layout(
        height=ROW * rows + AROUND,
        margin={"l": 10, "r": 10, "t": 30, "b": 45},
        xaxis={"title": title, "rangemode": "tozero", "automargin": True},
        yaxis={"autorange": "reversed", "automargin": True, "dtick": 1},
        legend={"orientation": "h", "traceorder": "normal", "y": 1, "yanchor": "bottom", "x": 0},
        template="none",
        bargap=0.25,
    )


def _name(rating: Rating) -> str:
    return str(rating.configuration)
