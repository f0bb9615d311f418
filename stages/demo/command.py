"""`penstock demo`: a crawl of made-up videos on this machine, checked
against the planted content."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine import Config
    from stages.demo.verdict import Findings

WIDEST = 120
"""The most columns of the verdict, on a terminal of any width."""


@click.command
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default="penstock-demo",
    show_default=True,
    help="Where the videos go, and the crawl.",
)
@click.option("--fresh", is_flag=True, help="Empty DIR first and start over.")
@click.option("--quiet", is_flag=True, help="Show the verdict alone.")
def demo(out: Path, fresh: bool, quiet: bool) -> None:
    """Crawl a dozen made-up videos from this machine, and check what was found.

    What they show, which of them are copies and which links are bad is known: the demo ends with a
    table of what was planted and what was found. It needs no key, no GPU and no network. Given
    again, it goes on where it was.

    Exit codes: 0 all is as planted, 1 something is not, 130 interrupted.
    """
    from engine import execute, open_list
    from stages.crawl.dataset.build import DATASET
    from stages.crawl.pipeline import crawl
    from stages.demo.folder import LIST, prepare, serve
    from stages.demo.verdict import judge

    prepare(out, fresh=fresh, quiet=quiet)
    with serve(out) as root:
        if not quiet:
            click.echo(f"Serving the videos on {root} and crawling {out / LIST}", err=True)
        code = execute(crawl, _config(), out, open_list(str(out / LIST)), quiet, None)
    if code not in (0, 1):  # interrupted, or stopped by itself: the run has reported it
        sys.exit(code)
    sys.exit(_show(judge(out / DATASET, root), out / DATASET, out))


def _config() -> "Config":
    """The configuration of `penstock crawl --allow-private --set …`,
    whatever is set on this machine."""
    from engine import load_config
    from stages.crawl.pipeline import crawl
    from stages.demo.script import SETTINGS

    flag = next(flag for flag in crawl.flags if flag.name == "--allow-private")
    return load_config(crawl, None, {}, SETTINGS, flag.sets)


def _show(sections: "Sequence[Findings]", dataset: Path, out: Path) -> int:
    """Print the verdict; returns the exit code."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for column in ("", "", "Planted", "Found"):
        table.add_column(column)
    for section in sections:
        table.add_row()
        table.add_row("", Text(section.title, "bold"))
        for check in section.checks:
            table.add_row(
                Text("ok", "green") if check.as_planted else Text("NO", "bold red"),
                Text(check.name, no_wrap=True),
                Text(check.what, "dim"),
                Text(check.planted),
                Text(check.found, "" if check.as_planted else "bold red"),
            )
    checks = [check for section in sections for check in section.checks]
    right = sum(check.as_planted for check in checks)
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    console.print()
    console.print(table)
    click.echo(f"\n{right} of {len(checks)} as planted. The dataset is in {dataset}.")
    click.echo(f"Try next: penstock export {shlex.quote(str(out))} --format yolo")
    return 0 if right == len(checks) else 1
