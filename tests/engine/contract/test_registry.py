"""What other packages bring, found by entry points: loaded when used, and never in the way."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import Check, PipelineError, Step, UsageError
from engine.cli.main import main
from engine.contract import registry
from tests.engine.toys import line, toy


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python looks for packages in, with one that registers what is not there."""
    info = tmp_path / "bad_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[penstock.commands]\nbroken = no_such_module:command\n"
        "[penstock.pipelines]\nhollow = json:dumps\n"
        "[penstock.stages]\nodd = collections:Counter\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("package")
def test_a_plugin_that_does_not_load_leaves_the_others_and_the_help_alone() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert "broken" in shown.output
    assert "cannot be used" in shown.output
    assert "status" in shown.output

    used = CliRunner().invoke(main, ["broken", "--anything", "at all"])
    assert used.exit_code == 2
    assert "no_such_module" in used.output
    assert "Traceback" not in used.output


@pytest.mark.usefixtures("package")
def test_what_is_no_pipeline_is_refused_by_name() -> None:
    with pytest.raises(PipelineError, match="'hollow'"):
        registry.pipeline("hollow")
    assert CliRunner().invoke(main, ["hollow"]).exit_code == 2


@pytest.mark.usefixtures("package")
def test_stages_are_found_by_name() -> None:
    from stages.crawl.extract import Extract

    assert Step.named("extract", after="download").stage is Extract
    with pytest.raises(PipelineError, match=r"'extrct'.*extract"):
        Step.named("extrct", after="download")
    with pytest.raises(PipelineError, match=r"'odd' is no engine\.Stage"):
        Step.named("odd", after="download")


def test_an_unknown_pipeline_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="crawl"):
        registry.pipeline("no-such-pipeline")
    assert "no_such_module" not in sys.modules


BRINGS = {
    "good": """
        from engine import SOURCE, Pipeline, Stage, Step
        class Note(Stage):
            def process(self, item, out):
                (out / "note").write_text(item.source)
        good = Pipeline("good", "Notes what it is given.", [Step(Note, SOURCE)])
    """,
    "missing": "import no_such_module",
    "leaves": "import sys; sys.exit('a library gave up')",
    "misbuilt": """
        from engine import Pipeline, Stage, Step
        class Lost(Stage): pass
        misbuilt = Pipeline("misbuilt", "Nothing reaches it.", [Step(Lost, "nowhere")])
    """,
    "clash": """
        from engine import SOURCE, Pipeline, Settings, Stage, Step, setting
        class Clash(Stage):
            class Settings(Settings):
                workers: int = setting(1, "Has another's name.")
        clash = Pipeline("clash", "Its settings clash.", [Step(Clash, SOURCE)])
    """,
    "odd": "odd = 7",
    "twice": "import engine.no_such_part",
}
"""Modules by name; each is to bring a pipeline of the same name."""

BROKEN = {
    "missing": "ModuleNotFoundError: No module named 'no_such_module'",
    "leaves": "SystemExit: a library gave up",
    "misbuilt": "stage 'lost' comes after 'nowhere'",
    "clash": "its setting 'workers' has the name of an option",
    "odd": "odd_plugin:odd is no engine.Pipeline",
    "twice": "No module named 'engine.no_such_part'",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as packages are installed in: one that works, and a broken one a module."""
    folder = tmp_path_factory.mktemp("installed")
    for name, text in BRINGS.items():
        (folder / f"{name}_plugin.py").write_text(textwrap.dedent(text))
        entries = f"[penstock.pipelines]\n{name} = {name}_plugin:{name}\n"
        if name in BROKEN:
            entries += f"[penstock.commands]\n{name}-command = {name}_plugin:{name}\n"
        distribution(folder, f"{name}-package", entries)
    distribution(folder, "a-thief", "[penstock.commands]\nstatus = odd_plugin:odd\n")
    distribution(folder, "b-thief", "[penstock.pipelines]\ngood = odd_plugin:odd\n")
    nameless = folder / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[penstock.pipelines]\nnameless = not a name\n")
    return folder


def distribution(folder: Path, name: str, entries: str) -> None:
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entries)


def penstock(installed: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own, with those packages installed."""
    path = os.pathsep.join([str(installed), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "300"},
        timeout=60,
    )
    assert "Traceback" not in ran.stderr
    return ran


def assert_warned(said: str) -> None:
    """Once of each broken pipeline: whose it is, and why."""
    text = " ".join(said.split())  # a help is wrapped
    for name, why in BROKEN.items():
        about = f"package {name}-package 1.0: the pipeline '{name}' cannot be used: "
        assert text.count(about) == 1
        assert why in text.partition(about)[2].partition("cannot be used")[0]
    assert "package without a name: the pipeline 'nameless' cannot be used" in text


def test_a_run_goes_on_beside_broken_packages(installed: Path, tmp_path: Path) -> None:
    ran = penstock(installed, tmp_path, "good", "one", "two", "--out", "work")
    assert ran.returncode == 0, ran.stderr
    assert_warned(ran.stderr)
    assert len(list((tmp_path / "work" / "items").rglob("note/note"))) == 2

    again = penstock(installed, tmp_path, "status", "work")
    assert again.returncode == 0, (
        again.stderr + "; nobody takes the place of the engine's own commands"
    )


def test_the_crawl_is_configured_beside_broken_packages(installed: Path, tmp_path: Path) -> None:
    ran = penstock(
        installed, tmp_path, "crawl", "https://a.test/", "--set", "stages.extract.fps=no"
    )
    assert_warned(ran.stderr)
    (mistake,) = (line for line in ran.stderr.splitlines() if line.startswith("penstock: "))
    assert "stages.extract.fps" in mistake


def test_init_writes_what_it_can(installed: Path, tmp_path: Path) -> None:
    ran = penstock(installed, tmp_path, "init")
    assert ran.returncode == 0, ran.stderr
    assert_warned(ran.stderr)
    written = (tmp_path / "config.toml").read_text()
    assert "[stages.extract]" in written
    assert "[stages.note]" in written
    assert "[stages.lost]" not in written


def test_doctor_looks_at_what_it_can(installed: Path, tmp_path: Path) -> None:
    ran = penstock(installed, tmp_path, "doctor")
    assert ran.returncode == int("PROBLEM" in ran.stdout)
    assert_warned(ran.stdout)
    assert re.search(
        r"^ *warning  odd-command +package odd-package 1\.0: the command", ran.stdout, re.M
    )
    assert re.search(r"^ *(ok|PROBLEM)  free disk", ran.stdout, re.M)


@pytest.mark.slow
def test_bench_goes_on_beside_broken_packages(installed: Path, tmp_path: Path) -> None:
    arguments = ["good", "one", "--try", "note=1", "--repeat", "1", "--out", "out"]
    ran = penstock(installed, tmp_path, "bench", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert_warned(ran.stderr)
    shown = penstock(installed, tmp_path, "bench", "--help")
    assert shown.returncode == 0
    assert_warned(shown.stdout)


def test_help_says_what_cannot_be_used_and_why(installed: Path, tmp_path: Path) -> None:
    shown = penstock(installed, tmp_path, "--help")
    assert shown.returncode == 0, shown.stderr
    assert_warned(shown.stdout)
    said = " ".join(shown.stdout.split())
    assert "package odd-package 1.0: the command 'odd-command' cannot be used" in said
    assert "Say how a work folder stands" in shown.stdout


@pytest.mark.parametrize("name", ["missing", "leaves", "misbuilt"])
@pytest.mark.parametrize("before", [(), ("bench",)])
def test_who_asks_for_a_broken_one_is_told_why(
    installed: Path, tmp_path: Path, name: str, before: tuple[str, ...]
) -> None:
    ran = penstock(installed, tmp_path, *before, name, "one", "--out", "work")
    assert ran.returncode == 2
    (told,) = ran.stderr.splitlines()
    assert told.startswith(f"penstock: package {name}-package 1.0: the pipeline '{name}' cannot")
    assert BROKEN[name] in told
    assert not (tmp_path / "work").exists()


def test_a_pipeline_whose_checks_break_off_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checks(settings: object) -> list[Check]:
        raise KeyError("weights")

    shaky = line(toy("a"), checks=checks)
    misled = line(toy("b", defaults={"wrokers": 2}))
    found = registry.Found({"shaky": shaky, "misled": misled}, ())
    monkeypatch.setattr(registry, "find_pipelines", lambda: found)
    monkeypatch.chdir(tmp_path)

    ran = CliRunner().invoke(main, ["doctor"])

    assert "its checks broke off: KeyError: 'weights'" in ran.output
    assert "its defaults name 'wrokers'" in ran.output
    assert "free disk" in ran.output
    assert ran.exit_code == int("PROBLEM" in ran.output)
