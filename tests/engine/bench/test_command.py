"""`penstock bench` as a person gives it: the files, the advice, wrong input, Ctrl-C."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from engine.bench.configuration import Configuration
from engine.bench.trial import Setup, Trial
from engine.cli.bench_command import MOST_ITEMS
from engine.cli.main import main
from engine.config.load import load_config
from tests.engine.bench.toy_pipelines import bench as toybench

pytestmark = pytest.mark.usefixtures("toys")

ITEMS = [f"item {number}" for number in range(12)]


def penstock(*arguments: object) -> Result:
    """Give the command in this process. What would be a traceback fails the test."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], prog_name="penstock")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def listed(*sources: str) -> Path:
    file = Path("list.txt")
    file.write_text("".join(f"{source}\n" for source in sources))
    return file


@pytest.mark.alone
def test_a_sweep_recommends_what_is_fastest() -> None:
    """An item takes so long that even what a busy machine adds to it is little."""
    file = listed("# a comment", *ITEMS[:6], ITEMS[0], "gone")
    ran = penstock(
        *("bench", "toybench", "--from", file, "--try", "work=1,6", "--repeat", "2"),
        *("--out", "out", "--set", "stages.fetch.size=5000", "--set", "stages.work.seconds=0.15"),
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads(Path("out/bench.json").read_text())
    assert found["recommended"]["workers"] == {"work": 6}
    assert found["recommended"]["toml"] == "[stages.work]\nworkers = 6\n"
    assert (found["items"], found["repeats"], found["interrupted"]) == (7, 2, False)
    assert found["settings"]["stages"]["fetch"]["size"] == 5000
    fast, slow = found["measured"]
    assert (fast["workers"], slow["workers"]) == ({"work": 6}, {"work": 1})
    assert fast["throughput"]["low"] > slow["throughput"]["high"]
    assert slow["bottleneck"] == "work"
    assert slow["stages"]["work"]["busy"] > 0.5
    assert slow["peak_memory"] > 10_000_000
    assert slow["peak_disk"] > 7 * 5000
    assert [trial["outcomes"]["failed"] for trial in found["trials"]] == [1] * 4

    with Path("out/bench.csv").open(newline="") as file_:
        rows = list(csv.DictReader(file_))
    assert [row["work workers"] for row in rows] == ["1", "6", "6", "1"]
    assert {row["done"] for row in rows} == {"6"}
    assert all(0 <= float(row["work busy"]) <= 1 for row in rows)

    assert "work=6 is the fastest." in ran.stdout
    assert "6 is the most that was tried for work: try more." in ran.stdout
    assert ran.stdout.count("work=6 ") >= 2
    block = ran.stdout[ran.stdout.index("[stages.work]") :].splitlines()[:2]
    Path("config.toml").write_text("\n".join(block))
    config = load_config(toybench, Path("config.toml"), {}, (), {})
    assert config.stages["work"].options.workers == 6
    assert "4 of 4: work=1, 7 items: " in ran.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "bench.csv",
        "bench.html",
        "bench.json",
    ]


def test_a_large_grid_begins_with_few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each configuration has the same items, the few as well spread over the list as the many."""
    given: list[Sequence[str]] = []

    def fake(setup: Setup, tried: Configuration, sources: Sequence[str], workdir: Path) -> Trial:
        assert list(workdir.iterdir()) == []
        given.append(sources)
        return Trial(tried, len(sources), 1.0, throughput=float(tried.workers["work"]))

    monkeypatch.setattr("engine.bench.session.run_trial", fake)
    items = [f"item {number}" for number in range(20)]
    words = ("--try", "work=1,2,3", "--try", "fetch=1,2,3", "--repeat", "1", "--quiet")
    ran = penstock("bench", "toybench", "--from", listed(*items), "--out", "out", *words)
    assert ran.exit_code == 0, ran.output
    assert ran.stderr == ""
    found = json.loads(Path("out/bench.json").read_text())
    assert found["plan"] == [
        {"configurations": 9, "items": 7},
        {"configurations": 3, "items": 20},
    ]
    assert [standing["items"] for standing in found["measured"]] == [20] * 3 + [7] * 6
    assert found["recommended"]["workers"] == {"fetch": 1, "work": 3}
    warm_up, *few = given[:10]
    assert warm_up == items[:1]
    assert {tuple(sources) for sources in few} == {
        tuple(items[n] for n in (0, 2, 5, 8, 11, 14, 17))
    }
    assert given[10:] == [items] * 3


def test_no_more_items_are_used_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(setup: Setup, tried: Configuration, sources: Sequence[str], workdir: Path) -> Trial:
        return Trial(tried, len(sources), 30.0, throughput=1.0)

    monkeypatch.setattr("engine.bench.session.run_trial", fake)
    file = listed(*(f"item {number}" for number in range(300)))
    for words, used in (((), MOST_ITEMS), (("--items", "250"), 250)):
        penstock("bench", "toybench", "--from", file, "--try", "work=1", "--out", "out", *words)
        assert json.loads(Path("out/bench.json").read_text())["items"] == used


@pytest.mark.slow
def test_a_configuration_that_cannot_run_leaves_the_others() -> None:
    ran = penstock(
        *("bench", "toybench", *ITEMS, "--try", "work=1,2", "--repeat", "2", "--out", "out"),
        *("--set", "stages.work.kill=2"),
    )
    assert ran.exit_code == 1
    assert "work=2 failed: its process was killed by SIGKILL" in ran.stdout
    found = json.loads(Path("out/bench.json").read_text())
    assert found["recommended"]["workers"] == {"work": 1}
    assert len(found["trials"]) == 3
    assert "killed by SIGKILL" in Path("out/bench.html").read_text()


LINE = ("bench", "toybench", "a")
MODEL = ("--try", "work=1", "--simulate", "--check", "0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "toybenhc", "a"), "Did you mean 'toybench'?"),
        (("bench", "toybench", "--try", "work=1"), "nothing to toybench: give sources, or --from"),
        (LINE, "nothing to try: give --try STAGE=1,2,4"),
        ((*LINE, "--try", "wrok=1"), "toybench has no stage 'wrok'; did you mean 'work'?"),
        ((*LINE, "--try", "work=1", "--from", "no.txt"), "--from no.txt: No such file"),
        ((*LINE, "--try", "work=1", "--config", "no.toml"), "no.toml: there is no such"),
        ((*LINE, "--try", "work=1", "--set", "stages.fetch.siez=1"), "did you mean 'size'?"),
        ((*LINE, "--try", "work=1", "--repeat", "0"), "'--repeat'"),
        ((*LINE, "--try", "work=1", "--ledger", "x"), "--ledger is for --simulate"),
        ((*LINE, "--try", "work=1", "--cores", "8"), "--cores is for the model alone"),
        ((*LINE, "--try", "work=1", "--nodes", "2"), "--nodes is for the model alone"),
        ((*LINE, "--try", "work=1", "--node", "CPU=8"), "--node CPU=8: give --nodes, the number"),
        *(
            ((*LINE, *MODEL, "--nodes", "2", "--node", wrong), f"--node {wrong}: '{wrong}' is no")
            for wrong in ("CPU", "CPU=many", "CPU=-1", "CPU=nan", "GPU=inf", "=1")
        ),
        ((*LINE, "--try", "work=1", "--out", "/proc/out"), "/proc/out cannot be written"),
        (
            (*LINE, "--try", "work=1", "--set", "stages.work.refuse=true", "--quiet"),
            "there is no such model; give another",
        ),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments: Sequence[str], said: str) -> None:
    ran = penstock(*arguments)
    assert ran.exit_code == 2
    assert said in ran.stderr.splitlines()[-1]
    assert not list(Path().glob("*/bench.*"))


def test_a_sweep_that_no_run_can_start_with_is_told_before_it_begins() -> None:
    ran = penstock(*LINE, "--try", "work=1,2", "--set", "stages.work.kill=1")
    assert ran.exit_code == 1
    assert "penstock: the first item could not be run: its process was killed" in ran.stderr


def test_help_tells_of_the_pipelines_own_flags() -> None:
    assert "toybench" in penstock("bench", "--help").stdout
    told = penstock("bench", "crawl", "--help").stdout
    assert "--try STAGE=1,2,4" in told
    assert "--allow-private" in told


def test_secrets_stay_out_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*LINE, "--try", "work=1", "--repeat", "1", "--out", "out", "--quiet")
    words += ("--set", "stages.fetch.key=sk-secret", "--set", "stages.fetch.size=7")
    monkeypatch.setattr(sys, "argv", ["penstock", *words])
    ran = penstock(*words)
    assert ran.exit_code == 0, ran.output
    for file in Path("out").iterdir():
        assert "sk-secret" not in file.read_text()
    found = json.loads(Path("out/bench.json").read_text())
    assert found["command"].endswith("--set 'stages.fetch.key=…' --set stages.fetch.size=7")


# Being stopped


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, which does not outlive the block."""
    code = "from engine.cli.main import main; main()"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


def wait_for(file: Path) -> str:
    while not file.exists() or not file.read_text():
        time.sleep(0.01)
    return file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_measured(number: signal.Signals) -> None:
    words = ("bench", "toybench", "--from", str(listed(*ITEMS)), "--out", "out")
    with started(*words, "--try", "work=1,2,4,8", "--repeat", "50") as process:
        read_until(process, "1 of 200")
        process.send_signal(number)
        out, errors = process.communicate(timeout=20)
        assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Interrupted: this is what was measured until then." in out
    found = json.loads(Path("out/bench.json").read_text())
    assert found["interrupted"]
    assert len(found["trials"]) >= 1
    assert found["recommended"] is not None
    assert list(Path("out").glob(".trial-*")) == []


@pytest.mark.slow
def test_a_killed_bench_takes_its_trial_with_it_and_the_next_cleans_up() -> None:
    hang = ("--set", "stages.work.hang=true", "--try", "work=1", "--out", "out")
    with started(*LINE, *hang) as process:
        worker = int(wait_for(Path("out/hanging")))
        refused = penstock(*LINE, *hang)
        assert refused.exit_code == 2
        assert "out is in use by another penstock bench" in refused.stderr
        process.kill()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(20)
    assert list(Path("out").glob(".trial-*")) != []
    assert penstock(*LINE, "--try", "work=1", "--out", "out", "--repeat", "1").exit_code == 0
    assert list(Path("out").glob(".trial-*")) == []
