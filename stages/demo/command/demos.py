"""`penstock demo`: a run over made-up videos on this machine, checked
against the planted content."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine import Config, Pipeline
    from stages.demo.verdict import Findings

WIDEST = 120
"""The most columns of the verdict, on a terminal of any width."""

FOLDERS = {
    "crawl": "penstock-demo",
    "scenes": "penstock-demo-scenes",
    "lesson": "penstock-demo-lesson",
    "recipe": "penstock-demo-recipe",
}
"""Where each demo goes, unless --out says otherwise."""


@click.command
@click.argument("pipeline", type=click.Choice(list(FOLDERS)), default="crawl")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where the videos go, and the run. By default {', '.join(FOLDERS.values())}.",
)
@click.option("--fresh", is_flag=True, help="Empty DIR first and start over.")
@click.option("--quiet", is_flag=True, help="Show the verdict alone.")
def demo(pipeline: str, out: Path | None, fresh: bool, quiet: bool) -> None:
    """Run a pipeline over made-up videos from this machine, and check what was found.

    crawl, the default: a dozen videos, copies of them and bad links. scenes: four films with
    shapes, sounds and spoken words. lesson: a script, whose video is decoded again. recipe: two
    videos of cooking, of which recipes are written.

    What they show and say is known: the demo ends with a table of what was planted and what was
    found. It needs no key, no GPU and no network. Given again, it goes on where it was.

    Exit codes: 0 all is as planted, 1 something is not, 130 interrupted.
    """
    folder = out if out is not None else Path(FOLDERS[pipeline])
    shows = {
        "crawl": _demo_of_crawl,
        "scenes": _demo_of_scenes,
        "lesson": _demo_of_lesson,
        "recipe": _demo_of_recipe,
    }
    sys.exit(shows[pipeline](folder, fresh, quiet))


def _demo_of_crawl(out: Path, fresh: bool, quiet: bool) -> int:
    """Returns the exit code."""
    from stages.crawl.dataset.build import DATASET
    from stages.crawl.pipeline import crawl
    from stages.demo.folder import LIST, prepare
    from stages.demo.script import FOOTAGE, SETTINGS, serve
    from stages.demo.verdict import judge

    prepare(out, FOOTAGE, fresh=fresh, quiet=quiet)
    with serve(out) as root:
        if not quiet:
            click.echo(f"Serving the videos on {root} and crawling {out / LIST}", err=True)
        code = _run(crawl, SETTINGS, out, quiet)
    if code not in (0, 1):  # interrupted, or stopped by itself: the run has reported it
        return code
    return _show(
        judge(out / DATASET, root),
        f"The dataset is in {out / DATASET}.",
        f"penstock export {shlex.quote(str(out))} --format yolo",
    )


def _demo_of_scenes(out: Path, fresh: bool, quiet: bool) -> int:
    """Returns the exit code."""
    from stages.demo.film_verdict import judge_scenes
    from stages.demo.films import FOOTAGE, find_whisper, serve_answers, settings
    from stages.demo.folder import prepare
    from stages.scenes.pipeline import scenes
    from stages.scenes.results import RESULTS

    prepare(out, FOOTAGE, fresh=fresh, quiet=quiet)
    whisper = find_whisper()
    with serve_answers(out) as url, _without_proxy():
        if not quiet:
            click.echo(f"Descriptions: by the demo's own server, {url}", err=True)
            click.echo(f"Speech: {_who_hears(whisper)}", err=True)
        code = _run(scenes, settings(url, whisper), out, quiet)
    if code not in (0, 1):
        return code
    return _show(
        judge_scenes(out),
        f"The records are in {out / RESULTS}.",
        f"penstock search {shlex.quote(str(out))} 'apple trees'",
    )


def _demo_of_lesson(out: Path, fresh: bool, quiet: bool) -> int:
    """Returns the exit code."""
    from stages.demo.folder import prepare
    from stages.demo.lesson_script import FOOTAGE, SETTINGS, has_espeak, list_script
    from stages.demo.lesson_verdict import judge_lesson
    from stages.lesson.films import FILMS
    from stages.lesson.pipeline import lesson

    prepare(out, FOOTAGE, fresh=fresh, quiet=quiet)
    list_script(out)
    if not quiet:
        who = "espeak-ng, and recordings" if has_espeak() else "recordings: espeak-ng is not here"
        click.echo(f"Voices: {who}", err=True)
    code = _run(lesson, SETTINGS, out, quiet)
    if code not in (0, 1):  # 1: a section is missing, as it has to be
        return code
    return _show(
        judge_lesson(out),
        f"The video is in {out / FILMS}.",
        f"penstock report {shlex.quote(str(out))}",
    )


def _demo_of_recipe(out: Path, fresh: bool, quiet: bool) -> int:
    """Returns the exit code."""
    from stages.demo.folder import prepare
    from stages.demo.recipes.dishes import FOOTAGE, serve_kitchen, settings
    from stages.demo.recipes.recipe_verdict import judge_recipes, questions_asked
    from stages.persistence.records import DOCUMENTS
    from stages.recipe.pipeline import recipe

    prepare(out, FOOTAGE, fresh=fresh, quiet=quiet)
    with serve_kitchen(out) as url, _without_proxy():
        if not quiet:
            click.echo(f"Notes, recipes and vectors: by the demo's own server, {url}", err=True)
        code = _run(recipe, settings(url), out, quiet)
        if code not in (0, 1):
            return code
        asked = len(questions_asked(out))
        _run(recipe, settings(url), out, quiet=True)  # given again, it has nothing to ask
        findings = judge_recipes(out, len(questions_asked(out)) - asked)
    return _show(
        findings,
        f"The recipes are in {out / DOCUMENTS}.",
        f"penstock report {shlex.quote(str(out))}",
    )


def _who_hears(whisper: Path | None) -> str:
    if whisper is None:
        return (
            "no Whisper is on this machine; the demo's own server answers, which knows the "
            "recordings"
        )
    return f"by the Whisper in {whisper}"


@contextmanager
def _without_proxy() -> Iterator[None]:
    """A proxy that the environment names cannot reach this machine's own server."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    os.environ.update(dict.fromkeys(before, "127.0.0.1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(pipeline: "Pipeline", sets: Sequence[str], out: Path, quiet: bool) -> int:
    from engine import execute, open_list
    from stages.demo.folder import LIST

    config = _config(pipeline, sets)
    return execute(pipeline, config, out, open_list(str(out / LIST)), quiet, None)


def _config(pipeline: "Pipeline", sets: Sequence[str]) -> "Config":
    """The configuration of `penstock … --allow-private --set …`,
    whatever is set on this machine."""
    from engine import load_config

    flags = [flag.sets for flag in pipeline.flags if flag.name == "--allow-private"]
    return load_config(pipeline, None, {}, sets, flags[0] if flags else {})


def _show(sections: "Sequence[Findings]", where: str, next_command: str) -> int:
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
    click.echo(f"\n{right} of {len(checks)} as planted. {where}")
    click.echo(f"Try next: {next_command}")
    return 0 if right == len(checks) else 1
