"""`penstock demo scenes`, from end to end."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from stages.demo.films import FILMS
from tests.finished_demo import run_demo
from tests.stages.crawled import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The demo in a folder where everything around it would get in its way, if it looked."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "config.toml").write_text("[stages.scenes]\nframes = 7\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.setenv("DESCRIBE_SCENES_RATE_LIMIT", "1")
        patch.setenv("OPENAI_API_KEY", "sk-never-sent")
        patch.setenv("COLUMNS", "80")
        patch.chdir(folder)
        return folder / "out", run_demo("scenes", "--out", folder / "out")


def attempts(out: Path) -> int:
    with closing(sqlite3.connect(out / "penstock.db")) as db:
        count: int = db.execute("SELECT count(*) FROM attempts").fetchone()[0]
    return count


def test_all_is_found_as_it_was_planted(finished: tuple[Path, Result]) -> None:
    out, result = finished
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    begin = next(at for at, line in enumerate(lines) if "Planted" in line)
    verdict = lines[begin:-3]
    assert max(map(len, verdict)) <= 80
    marks = [line[:2] for line in verdict if line[:2].strip()]
    assert set(marks) == {"ok"}
    assert len(marks) == 6 * len(FILMS) + 10
    assert lines[-2].startswith(f"{len(marks)} of {len(marks)} as planted. ")
    assert lines[-1] == f"Try next: penstock search {out} 'apple trees'"


def test_the_next_command_works(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    result = CliRunner().invoke(main, ["search", str(out), "apple trees"])
    assert result.exit_code == 0, result.output
    assert "apple" in result.stdout.splitlines()[0]


def test_without_whisper_and_espeak_all_is_found_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where penstock[speech] is not installed: the demo's server knows its recordings."""
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = run_demo("scenes", "--out", "out")
    assert "no Whisper is on this machine" in result.stderr
    assert result.exit_code == 0, result.output


def test_given_again_it_goes_on(finished: tuple[Path, Result]) -> None:
    out, first = finished
    before, records = attempts(out), tree(out / "scenes")
    result = run_demo("scenes", "--out", out, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert attempts(out) == before
    assert tree(out / "scenes") == records
    assert result.stdout.splitlines()[-2:] == first.stdout.splitlines()[-2:]
