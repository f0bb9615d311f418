"""Writes what was saved of the benchmarks as pages: one for each, and their targets in one table.

    python -m benchmarks.page     # docs/benchmarks/NAME.md, and the tables in docs/benchmarks.md

In docs/benchmarks.md the tables stand between `<!-- benchmarks: NAME … -->` and `<!-- end -->`.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.results import FOLDER, Measurement, Table, Target, result_of_file

PAGE = FOLDER.with_suffix(".md")
TABLES = re.compile(r"(<!-- benchmarks: ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def with_results(text: str, folder: Path = FOLDER) -> str:
    """The text with the targets and the commands of the results that it names."""

    def tables(found: re.Match[str]) -> str:
        results = [result_of_file(folder / f"{name}.json") for name in found[2].split()]
        return found[1] + _text(_overview(results)) + found[4]

    return TABLES.sub(tables, text)


def page_of(result: Measurement) -> str:
    """A page for one result: how it was measured, targets, tables, notes and picture."""
    machine = result.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"# {result.title}",
        "",
        "Written by `python -m benchmarks.page`. [All benchmarks](../benchmarks.md).",
        "",
        f"`{result.command}`: {_how_often(result.rounds)}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; "
        f"Python {machine['python']}, {versions}.",
        "",
    ]
    if result.targets:
        lines += ["| target | limit | measured | |", "| --- | ---: | ---: | --- |"]
        lines += [f"| {_target(target)} |" for target in result.targets]
        lines.append("")
    for one in result.tables:
        lines += [*_table(one), ""]
    lines += [*result.notes, ""] if result.notes else []
    lines.append(f"![{result.title}]({result.name}.png)")
    return _text(lines)


def _overview(results: Sequence[Measurement]) -> list[str]:
    """How many targets are met, each of them, and what prints them."""
    targets = [target for result in results for target in result.targets]
    met = sum(target.met for target in targets)
    lines = ["", f"{met} of {len(targets)} targets are met.", ""]
    lines += ["| benchmark | target | limit | measured | |", "| --- | --- | ---: | ---: | --- |"]
    for result in results:
        link = f"[{result.name}]({FOLDER.name}/{result.name}.md)"
        lines += [f"| {link} | {_target(target)} |" for target in result.targets]
    lines += ["", "| benchmark | the command that prints it | rounds | measured on |"]
    lines.append("| --- | --- | ---: | --- |")
    for result in results:
        when = f"{result.machine['date']}, {result.machine['cores']} cores"
        lines.append(f"| {result.name} | `{result.command}` | {result.rounds} | {when} |")
    return [*lines, ""]


def _target(target: Target) -> str:
    relation = "at least" if target.at_least else "at most"
    verdict = "met" if target.met else "**missed**"
    return f"{target.what} | {relation} {target.limit:g} | {target.value} | {verdict}"


def _how_often(rounds: int) -> str:
    return "one round" if rounds == 1 else f"medians of {rounds} rounds with 95% intervals"


def _table(one: Table) -> list[str]:
    columns = list(dict.fromkeys(key for row in one.rows for key in row.figures))
    lines = [f"| {one.title} | " + " | ".join(columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for row in one.rows:
        cells = [str(row.figures[key]) if key in row.figures else "" for key in columns]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return lines


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    for file in FOLDER.glob("*.json"):
        file.with_suffix(".md").write_text(page_of(result_of_file(file)), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_results(text), encoding="utf-8")


if __name__ == "__main__":
    main()
