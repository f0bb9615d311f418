"""What the documentation says is held against the code.

    python -m tests.test_docs     # writes the tables of settings in docs/ anew

A fenced block may follow an HTML comment that says what it is: `file: NAME` (a file of the example
package), `commands: NAME` and `example: NAME` (run by a test here). A table of settings stands
between `<!-- settings: NAME -->` and `<!-- end -->`.
"""

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import dropwhile, pairwise
from pathlib import Path
from types import ModuleType

import click
import pyarrow.parquet as pq
import pytest
from pydantic.fields import FieldInfo

from engine import Pipeline, StageOptions
from engine.cli.main import main
from engine.config.limits import LimitSettings
from engine.config.load import load_config
from engine.config.schema import Schema
from engine.config.setting_text import accepted, toml_value
from engine.ledger.group_commit import BACKLOG
from engine.telemetry import events
from stages.crawl import describe, describe_frames, extract
from stages.crawl import filter as filter_stage
from stages.crawl.dataset import dedup
from stages.crawl.dataset.build import build_dataset
from stages.crawl.pipeline import crawl
from stages.demo.shapes import WEIGHTS
from stages.exports.command import OF_A_CRAWL, OF_SCENES
from stages.fetch import download, probe, ytdlp_options
from stages.fetch.guard import ytdlp_guard
from stages.lesson.pipeline import lesson
from stages.media import video as media
from stages.media.pictures import rendering
from stages.net import errors as download_errors
from stages.net import faults as download_faults
from stages.net.faults import Meaning
from stages.publishing import publish
from stages.recipe.pipeline import recipe
from stages.scenes.pipeline import scenes
from stages.store import bucket, problems
from stages.vision import asking
from tests.stages.clips import make_clip, moving_picture
from tests.stages.crawled import Crawl, Shot

PIPELINES = {pipeline.name: pipeline for pipeline in (crawl, scenes, lesson, recipe)}
PIPELINE_OF = PIPELINES | {"store": recipe}
"""The pipeline whose settings a page shows, by the page's name."""

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TABLE = re.compile(r"(<!-- settings: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
COMMANDS = re.compile(r"(<!-- commands -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FILLED_IN = re.compile(r"[A-Z]{2,}|…")

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what the comment before it says."""

    language: str
    text: str
    note: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, text, note) for note, language, text in found]


def block(page: Path, note: str) -> str:
    [text] = [one.text for one in blocks(page) if one.note == note]
    return text


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path, *, quoted: bool = True) -> Iterator[list[str]]:
    """Every `penstock …` of the page as words: lines of shell blocks, and those quoted in prose."""
    for one in blocks(page):
        if one.language == "sh" and not one.note.startswith("commands:"):
            for line in one.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                words = [*dropwhile(re.compile(r"[A-Z_]+=").match, words)]
                if words[:1] == ["penstock"]:
                    yield words[1:]
    for text in re.findall(r"`penstock ([^`]+)`", prose(page)) if quoted else ():
        yield shlex.split(text)


def setting_field(dotted: str, pipeline: Pipeline = crawl) -> FieldInfo | None:
    return Schema.of(pipeline, LimitSettings, ()).field(dotted)


# Links


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{target}: no such heading"


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+\.md[^)\s]*)\)", prose(page))
    }
    assert [page for page in PAGES if page not in linked and page.name != "README.md"] == []


# Settings


@by_page
def test_settings_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name in ("extending.md", "parts.md"):
        own = r"stages\.poster\.(width|position)|stages\.(dataset|chapters)\.\w+"
        text = re.sub(own, "", text)
    for dotted in re.findall(r"\b((?:stages\.[a-z_]+|limits)\.[a-z_]+)\b", text):
        stage = dotted.split(".")[1]
        if stage in crawl.names or dotted.startswith("limits."):
            assert setting_field(dotted) is not None, f"{dotted} is no setting"
            continue
        others = (one for one in (scenes, lesson, recipe) if stage in one.names)
        if not any(setting_field(dotted, one) is not None for one in others):
            assert find_spec(dotted) is not None, f"{dotted} is neither setting nor module"


@by_page
def test_configuration_shown_is_accepted(page: Path, tmp_path: Path) -> None:
    for one in blocks(page):
        if one.language == "toml" and not one.note.startswith("file:"):
            file = tmp_path / "config.toml"
            file.write_text(one.text, encoding="utf-8")
            load_config(PIPELINE_OF.get(page.stem, crawl), file, {}, (), {})


@by_page
def test_environment_variables_exist(page: Path) -> None:
    known = {*Schema.of(crawl, LimitSettings, ()).variables}
    known |= {"PENSTOCK_POSTER_WIDTH", "PENSTOCK_TEST_DATA"}
    assert set(re.findall(r"\bPENSTOCK_[A-Z_]*[A-Z]\b", page.read_text())) <= known


def settings_table(name: str) -> str:
    """The table of a stage's own settings, of the options of every stage, or of the limits."""
    fields = {"options": StageOptions.model_fields, "limits": LimitSettings.model_fields}.get(name)
    if fields is None:
        fields = crawl[name].stage.Settings.model_fields
    rows = [_row(key, field, own=name in crawl.names) for key, field in fields.items()]
    head = ["setting", "default", "what it may be", "what it does"]
    head += ["redoes the stage"] * (name in crawl.names)
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "".join(f"{line}\n" for line in lines)


def _row(key: str, field: FieldInfo, *, own: bool) -> list[str]:
    default = field.get_default(call_default_factory=True)
    shown = "unset" if default is None else f"`{_short(default)}`"
    extra = field.json_schema_extra
    extra = extra if isinstance(extra, dict) else {}
    changes = "yes" if extra.get("affects_output", True) else "no"
    if extra.get("in_ingredients"):
        changes = "where it comes to another"
    cells = [f"`{key}`", shown, accepted(field), field.description or ""]
    cells += [changes] * own
    return [cell.replace("|", "\\|").replace("*", "\\*") for cell in cells]


def _short(default: object) -> str:
    text = toml_value(list(default) if isinstance(default, tuple) else default)
    return text if len(text) <= 60 else f'{text[:57].rpartition(" ")[0]} …"'


def with_tables(text: str) -> str:
    """The page with its tables of settings and of commands as the code has them."""
    text = TABLE.sub(lambda found: found[1] + settings_table(found[2]) + found[4], text)
    return COMMANDS.sub(lambda found: found[1] + commands_table() + found[3], text)


def commands_table() -> str:
    """Every command, with the first sentence of its help."""
    context = click.Context(main)
    lines = ["| command | what it does |", "| --- | --- |"]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        lines.append(f"| `penstock {name}` | {command.get_short_help_str(limit=200)} |")
    return "".join(f"{line}\n" for line in lines)


@by_page
def test_tables_are_the_codes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == with_tables(text), "run `python -m tests.test_docs` to write the tables anew"


def test_every_setting_has_a_table() -> None:
    named = {name for page in PAGES for _, name, *_ in TABLE.findall(page.read_text())}
    assert named == {"limits", "options", *crawl.names}


@pytest.mark.parametrize("stage", crawl.names)
def test_defaults_of_options_are_told(stage: str) -> None:
    """Where a stage's workers or timeout are not every stage's, its page says so."""
    text = prose(ROOT / "docs" / "stages" / f"{stage}.md")
    for key, default in crawl[stage].stage.defaults.items():
        if default != StageOptions.model_fields[key].default:
            assert re.search(rf"`{key} = {re.escape(toml_value(default))}`", text)


def test_the_readme_says_which_frames_are_kept() -> None:
    default = crawl["filter"].stage.Settings()
    text = " ".join(README.read_text().split())
    assert f"`stages.filter.classes` is `{toml_value(list(default.classes))}`" in text
    assert f"with a confidence over {default.confidence})" in text


def test_every_command_has_a_row() -> None:
    [(_, table, _)] = COMMANDS.findall(README.read_text())
    assert re.findall(r"^\| `penstock (\w+)`", table, re.M) == main.list_commands(
        click.Context(main)
    )


# Numbers that follow from settings


@pytest.mark.parametrize(
    ("stage", "reader", "what"),
    [("download", "extract", "downloads"), ("extract", "filter", "folders of raw frames")],
)
def test_operating_says_how_many_raw_folders_there_are(stage: str, reader: str, what: str) -> None:
    """One for each worker of the stage, and each item that its only reader may hold."""
    steps = load_config(crawl, None, {}, (), {}).stages
    assert [name for name in crawl.names if stage in crawl.reads(name)] == [reader]
    numbers = [steps[stage].options.workers, steps[reader].options.queue]
    numbers.append(steps[reader].options.workers)
    text = " ".join(prose(ROOT / "docs" / "operating.md").split())
    assert f"{' + '.join(map(str, numbers))} = {sum(map(int, numbers))} {what}" in text


def test_architecture_says_how_many_entries_may_wait() -> None:
    assert f"Once {BACKLOG} entries wait to be written" in prose(ROOT / "docs" / "architecture.md")


# Commands


def command_of(words: list[str]) -> click.Command | None:
    """The command, or the subcommand of a command that has any: `bench crawl`."""
    command = main.get_command(click.Context(main), words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        return command.get_command(click.Context(command), words[1])
    return command


@by_page
def test_commands_exist(page: Path) -> None:
    """The command, its options, and what it sets, unless "…" or capitals are to be filled in."""
    for words in commands(page):
        if words[0].startswith("--"):
            assert words[0] in ("--help", "--version")
            continue
        command = command_of(words)
        assert command is not None, f"there is no penstock {' '.join(words[:2])}"
        context = click.Context(command)
        known = {option for one in command.get_params(context) for option in one.opts}
        assert [word for word in words if word.startswith("--") and word not in known] == []
        settings = [value for option, value in pairwise(words) if option == "--set"]
        pipeline = PIPELINES.get(words[0], crawl)
        told = [text for text in settings if not FILLED_IN.search(text)]
        load_config(pipeline, None, {}, told, {})


@by_page
def test_shell_lines_are_complete(page: Path) -> None:
    """What a command needs is there, and every value is one that it takes."""
    for words in commands(page, quoted=False):
        command = command_of(words)
        if command is not None:
            command.make_context(words[0], words[words.index(command.name or words[0]) + 1 :])


@by_page
def test_make_targets_and_scripts_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = [line for one in blocks(page) if one.language == "sh" for line in one.text.splitlines()]
    for target in re.findall(r"(?:^|`)make ([a-z]+)", "\n".join([text, *shown]), re.MULTILINE):
        assert target in targets
    for script in re.findall(r"\bbenchmarks/\w+\.py", text):
        assert (ROOT / script).is_file()
    for module in re.findall(r"python -m (stages(?:\.\w+)+)", text):
        assert find_spec(module) is not None


# Kinds of failure


def _kinds_in_code(*modules: ModuleType) -> set[str]:
    """Every kind of failure that these modules raise."""
    return {
        kind
        for module in modules
        for kind in re.findall(r'\bkind="([\w-]+)"', inspect.getsource(module))
    }


KINDS = {
    "download": {row.kind for _, row in download_faults.MESSAGES}
    | {row.kind for row in download_faults.EXCEPTIONS.values()}
    | {row.kind for row in download_faults.STATUSES.values()}
    | {one.kind for one in vars(download_faults).values() if isinstance(one, Meaning)}
    | _kinds_in_code(download, probe, ytdlp_options, ytdlp_guard, download_errors),
    "extract": _kinds_in_code(extract, media, rendering),
    "filter": _kinds_in_code(filter_stage),
    "describe": _kinds_in_code(describe, describe_frames) | {"vision-api", "throttled"},
    "dedup": _kinds_in_code(dedup),
    "publish": _kinds_in_code(publish, bucket, problems),
}


def _kinds_on_page(page: Path) -> set[str]:
    """The first cells of the rows of tables whose first column is headed "kind"."""
    found: set[str] = set()
    for table in re.findall(r"^\| kind \|.*\n\|[-| ]+\n((?:\|.*\n)*)", page.read_text(), re.M):
        found |= set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE))
    return found


@pytest.mark.parametrize("stage", crawl.names)
def test_kinds_of_failure_are_the_codes(stage: str) -> None:
    assert _kinds_on_page(ROOT / "docs" / "stages" / f"{stage}.md") == KINDS[stage]


def test_operating_says_what_to_do_about_every_kind() -> None:
    failing = set().union(*KINDS.values()) | {"timeout", "crashed", "unexpected"}
    failing |= _kinds_in_code(asking)
    assert _kinds_on_page(ROOT / "docs" / "operating.md") == failing


# Other lists


def test_events_are_the_codes() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    names = {
        name
        for name, value in vars(events).items()
        if isinstance(value, type) and issubclass(value, events.Event) and value is not events.Event
    }
    assert names == set(re.findall(r"^\| `([A-Z]\w+)` \|", text, re.MULTILINE))


def test_export_formats_are_the_codes() -> None:
    for page, formats in ("tutorial.md", OF_A_CRAWL), ("search.md", OF_SCENES):
        text = (ROOT / "docs" / page).read_text()
        assert set(re.findall(r"--format (\w+)", text)) == set(formats)


def test_dependencies_are_pyprojects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["test"], *extras["bench"], *extras["lint"]]
    names = {re.split(r"[\[<>=~ ]", one)[0] for one in asked}
    page = (ROOT / "docs" / "dependencies.md").read_text()
    versions = dict(re.findall(r"^\| ([\w-]+) \| (\d[\w.]*) \|", page, re.MULTILINE))
    assert set(versions) == names
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    assert [f"{name}=={version}".lower() for name, version in versions.items()] == [
        pin for name in versions for pin in pins if pin.startswith(f"{name.lower()}==")
    ]


# Code


@by_page
def test_python_compiles(page: Path) -> None:
    for one in blocks(page):
        if one.language == "python":
            compile(one.text, str(page), "exec")


def run_in(folder: Path, *command: str, code: int = 0, python_path: Path | None = None) -> str:
    """Run a command in a folder; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, (python_path, ROOT))))
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def test_readme_reads_a_dataset(tmp_path: Path) -> None:
    made = Crawl(tmp_path / "frames")
    made.video("https://example.org/a.mp4", [Shot(1, 0.0), Shot(2, 1.0)])
    build_dataset(made.context())
    rows = pq.read_table(tmp_path / "frames" / "dataset" / "frames.parquet").num_rows

    printed = run_in(tmp_path, sys.executable, "-c", block(README, "example: dataset"))

    assert len(printed.splitlines()) == rows == 2
    assert printed.splitlines()[0].endswith("A person.")


@pytest.mark.slow
def test_readme_crawls_from_python(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", range(0, 2000, 100), size=(160, 96), picture=moving_picture)
    settings = {"weights": str(WEIGHTS), "classes": [], "keep_empty": True}
    lines = [f"{key} = {toml_value(value)}\n" for key, value in settings.items()]
    (tmp_path / "config.toml").write_text("[stages.filter]\n" + "".join(lines))

    printed = run_in(tmp_path, sys.executable, "-c", block(README, "example: python"))

    assert re.fullmatch(r"[\w-]+ done\n0 1\n", printed)
    assert (tmp_path / "frames" / "dataset" / "videos.parquet").is_file()


@pytest.fixture
def posters(tmp_path: Path) -> Path:
    """A folder with a clip, and in `installed/` the example package as pip would install it."""
    page = ROOT / "docs" / "extending.md"
    installed = tmp_path / "installed"
    about = installed / "penstock_posters-0.1.0.dist-info"
    about.mkdir(parents=True)
    (installed / "posters.py").write_text(block(page, "file: posters.py"))
    project = tomllib.loads(block(page, "file: pyproject.toml"))["project"]
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    make_clip(tmp_path / "clip.mp4", range(0, 3000, 100), size=(160, 96), picture=moving_picture)
    return tmp_path


def test_own_pipeline_runs_as_a_command(posters: Path) -> None:
    page, installed = ROOT / "docs" / "extending.md", posters / "installed"
    penstock = [sys.executable, "-c", "from engine.cli.main import main; main()"]
    printed = [
        run_in(posters, *penstock, *shlex.split(line)[1:], python_path=installed)
        for line in block(page, "commands: posters").splitlines()
    ]

    assert "1 posters in" in printed[0]
    assert "poster" in printed[1]
    assert (posters / "work" / printed[2].strip()).is_file()


def test_own_pipeline_runs_from_python(posters: Path) -> None:
    page, installed = ROOT / "docs" / "extending.md", posters / "installed"
    script = block(page, "example: run") + block(page, "example: extend")
    script += "print(crawl_with_posters.names)\n"

    printed = run_in(posters, sys.executable, "-c", script, python_path=installed).splitlines()

    assert printed[0].startswith("0 1 ['1 posters in")
    assert "poster" in printed[1]


STRIPS = """
from engine.config.load import load_config
from engine.flow.opening import run_pipeline

ends = ["stages.opening.position=0.1", "stages.closing.position=0.9"]
report = run_pipeline(strips, load_config(strips, None, {}, ends, {}), Path("strips"), ["clip.mp4"])
print(report.exit_code, len(list(Path("strips").glob("items/*/strip/strip.jpg"))))
"""


def test_a_source_of_ones_own_is_told(posters: Path) -> None:
    page, installed = ROOT / "docs" / "extending.md", posters / "installed"
    orders = posters / "orders"
    orders.mkdir()
    (orders / "1.json").write_text('{"video": "clip.mp4", "parameters": {"mood": "calm"}}')
    (orders / "2.json").write_text('{"video": "missing.mp4"}')

    script = block(page, "example: source")
    printed = run_in(posters, sys.executable, "-c", script, python_path=installed)

    assert printed == "1 orders/done/1.json orders/failed/2.json\n"


def test_one_stage_stands_twice_in_a_pipeline(posters: Path) -> None:
    page, installed = ROOT / "docs" / "extending.md", posters / "installed"
    script = block(page, "example: inputs") + STRIPS

    printed = run_in(posters, sys.executable, "-c", script, python_path=installed)

    assert printed.split() == ["0", "1"]


BOOK = """# One
the sea the ship
# Empty
# Three
the sea
"""


def test_a_text_is_counted_in_parts(tmp_path: Path) -> None:
    (tmp_path / "book.md").write_text(BOOK)
    script = block(ROOT / "docs" / "parts.md", "example: parts")

    printed = run_in(tmp_path, sys.executable, "-c", script).splitlines()

    assert sorted(printed[:3]) == ["1: done", "2: dropped", "3: done"]
    assert printed[3] == "['book.md: done, 0 gaps'] 3 0"
    assert printed[4] == "{'the': 3, 'sea': 2, 'ship': 1}"


def test_exit_codes_are_told() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    assert main.help is not None
    codes = re.findall(r"\b(\d+) [a-z]", main.help.partition("Exit codes:")[2])
    assert codes == re.findall(r"^\| (\d+) \|", text, re.MULTILINE)


def write_tables() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if with_tables(text) != text:
            page.write_text(with_tables(text), encoding="utf-8")


if __name__ == "__main__":
    write_tables()
