"""Puts the saved results into docs/benchmarks.md.

    python -m benchmarks.page

A result stands between `<!-- benchmark: NAME -->` and `<!-- end -->`.
"""

import re
from pathlib import Path

from benchmarks.harness import FOLDER, Result, Table, result_of_file

PAGE = FOLDER.with_suffix(".md")
BLOCK = re.compile(r"(<!-- benchmark: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def with_results(text: str, folder: Path = FOLDER) -> str:
    """The page's text with every block as its result file has it."""
    return BLOCK.sub(
        lambda found: found[1] + block(result_of_file(folder / f"{found[2]}.json")) + found[4], text
    )


def block(result: Result) -> str:
    """A result as Markdown: targets, tables, how it was measured, and its picture."""
    machine = result.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [""]
    if result.targets:
        lines += ["| target | limit | measured | |", "| --- | ---: | ---: | --- |"]
        for target in result.targets:
            relation = "at least" if target.at_least else "at most"
            verdict = "met" if target.met else "**missed**"
            lines.append(
                f"| {target.what} | {relation} {target.limit:g} | {target.value} | {verdict} |"
            )
        lines.append("")
    for one in result.tables:
        lines += [*_table(one), ""]
    lines += [*result.notes, ""] if result.notes else []
    lines += [
        f"`{result.command}`: {_how_often(result.rounds)}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; "
        f"Python {machine['python']}, {versions}.",
        "",
        f"![{result.title}](benchmarks/{result.name}.png)",
        "",
    ]
    return "".join(f"{line}\n" for line in lines)


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


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_results(text), encoding="utf-8")


if __name__ == "__main__":
    main()
