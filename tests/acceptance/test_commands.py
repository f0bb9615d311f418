"""The commands beside the crawl, and what a crawl shows while it runs."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.load import load_config, settings_as_dict
from engine.contract import registry
from stages.demo.server import BareStatus, File, MediaServer
from tests.acceptance.command import (
    PENSTOCK,
    SHAPES,
    crawl,
    crawl_command,
    events,
    penstock,
    settings,
    started,
)
from tests.acceptance.outcome import attempts, check_dataset, status, videos

Serve = Callable[..., list[str]]

HEAVY = ("torch", "ultralytics", "yt_dlp", "av", "numpy", "pyarrow", "httpx", "PIL", "cv2")

CONFIG = Path(__file__).parents[2] / "config.toml"


# --help, --version


@pytest.mark.alone
def test_help_answers_at_once(tmp_path: Path) -> None:
    """In under half a second of processor time, whatever else the machine has to do."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(6):  # the first of them compiles everything
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            [PENSTOCK, "--help"], capture_output=True, text=True, check=True, env=environment
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
    for command in ("bench", "crawl", "demo", "doctor", "export", "init", "retry", "status"):
        assert re.search(rf"^  {command}  ", told.stdout, re.MULTILINE), command
    assert "Exit codes: 0 all ended well" in told.stdout


def test_help_loads_nothing_heavy() -> None:
    helps = [
        ["--help"],
        ["crawl", "--help"],
        ["bench", "crawl", "--help"],
        ["export", "--help"],
        ["search", "--help"],
        ["demo", "--help"],
        ["--version"],
    ]
    code = (
        "import sys\n"
        "from engine.cli.main import main\n"
        f"for arguments in {helps!r}:\n"
        "    main(arguments, 'penstock', standalone_mode=False)\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    print(*arguments, loaded, file=sys.stderr)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.count("Usage: penstock") == len(helps) - 1
    assert told.stderr.splitlines() == [" ".join([*words, "[]"]) for words in helps]


# init, doctor


def test_every_pipeline_imports_numpy_before_its_steps_open() -> None:
    """Each opens several libraries in C side by side, which may find numpy half imported."""
    for name in registry.names(registry.PIPELINES):
        pipeline = registry.pipeline(name)
        assert ("numpy" in pipeline.imports) == ("numpy" in pipeline.packages), name


def test_init_writes_the_settings_that_the_repository_shows() -> None:
    ran = penstock("init")
    assert (ran.code, ran.out) == (0, "wrote config.toml\n")
    assert Path("config.toml").read_text() == CONFIG.read_text(), (
        "config.toml at the top of the repository is not what `penstock init` writes: "
        "run `penstock init --force` there"
    )


def test_init_does_not_overwrite_what_somebody_wrote() -> None:
    Path("mine.toml").write_text("[limits]\nrate = 1\n")
    refused = penstock("init", "mine.toml")
    assert refused.code == 2
    assert "mine.toml is there already" in refused.err
    assert Path("mine.toml").read_text() == "[limits]\nrate = 1\n"
    assert penstock("init", "mine.toml", "--force").code == 0
    assert "[stages.filter]" in Path("mine.toml").read_text()
    missing = penstock("init", "missing/mine.toml")
    assert missing.code == 2
    assert "missing/mine.toml cannot be written" in missing.err


def test_init_takes_the_pipelines_and_the_file(tmp_path: Path) -> None:
    assert penstock("init", "crawl", "lesson", "recipe", "scenes").code == 0
    assert Path("config.toml").read_text() == CONFIG.read_text()
    assert penstock("init", "crawl", "mine.toml").out == "wrote mine.toml\n"
    assert "[stages.filter]" in Path("mine.toml").read_text()
    assert "[stages.scenes]" not in Path("mine.toml").read_text()
    assert penstock("init", "./mine").code == 0
    for words, told in {
        ("crwl",): "there is no pipeline named 'crwl'; did you mean 'crawl'?",
        ("a.toml", "b.toml"): "one file at a time, not a.toml and b.toml",
    }.items():
        refused = penstock("init", *words)
        assert refused.code == 2
        assert told in refused.err
    assert sorted(path.name for path in Path().iterdir()) == ["config.toml", "mine", "mine.toml"]


def test_the_config_toml_of_an_earlier_release_says_what_it_said(tmp_path: Path) -> None:
    old = Path(__file__).with_name("config-0.1.0.toml")
    written = tomllib.loads(old.read_text())
    config = settings_as_dict(load_config(registry.pipeline("crawl"), old, {}, (), {}))
    for stage, table in written["stages"].items():
        assert {key: config["stages"][stage][key] for key in table} == table
    assert config["stages"]["download"]["placement"] == "thread", "as it was then"
    assert config["stages"]["describe"]["timeout"] == 86400.0


@pytest.mark.slow
def test_what_init_writes_changes_nothing(tmp_path: Path, clips: list[Path]) -> None:
    work = tmp_path / "work"
    assert crawl(clips[0], out=work).code == 0
    assert penstock("init").code == 0
    assert crawl(clips[0], out=work).code == 0
    assert not attempts(work, run=2)


def test_doctor_says_what_a_crawl_would_miss(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    Path("config.toml").write_text(
        f'[stages.filter]\nweights = "{SHAPES["stages.filter.weights"]}"\nclasses = ["square"]\n'
    )
    ran = penstock("doctor")
    assert "Traceback" not in ran.said
    for subject in ("python", "free disk", "open files", "yt-dlp", "weights", "device"):
        assert re.search(rf"^ *(ok|warning|PROBLEM)  {subject}", ran.out, re.MULTILINE), subject
    assert "OPENAI_API_KEY" in ran.out
    assert "sk-secret" not in ran.said
    assert ran.code == int("PROBLEM" in ran.out)
    problems = [line for line in ran.out.splitlines() if line.startswith(" PROBLEM")]

    Path("config.toml").write_text('[stages.filter]\nweights = "missing/best.pt"\n')
    ran = penstock("doctor")
    assert ran.code == 1
    worse = [line for line in ran.out.splitlines() if line.startswith(" PROBLEM")]
    assert len(worse) == len(problems) + 1
    assert any("missing/best.pt" in line for line in worse)


# status, retry


def test_retry_mends_what_can_be_mended(
    tmp_path: Path, clips: list[Path], server: MediaServer, serve: Serve
) -> None:
    urls, work = serve(clips[:2]), tmp_path / "work"
    for path, code in (("/gone.mp4", 404), ("/broken.mp4", 500)):
        server.routes[path] = BareStatus(code)
        urls.append(server.url(path))
    ran = crawl(*urls, out=work, sets={"stages.download.attempts": 2})
    assert ran.code == 1, ran.said
    shown = penstock("status", work)
    assert shown.code == 0
    for kind in ("not_found", "transient"):
        command = f"penstock retry {work} --class {kind} --stage download"
        assert command in shown.out
        assert command in ran.out
    found = status(work)
    assert found["items"] == {"entered": 4, "done": 2, "dropped": 0, "failed": 2, "pending": 0}
    assert found["outcome"] == "done"
    assert not found["running"]
    tries = [row for row in found["failures"] if row["kind"] == "transient"]
    assert tries[0]["example_item"] == server.url("/broken.mp4")

    # The same command again does not ask in vain.
    server.requests.clear()
    assert crawl(*urls, out=work, sets={"stages.download.attempts": 2}).code == 1
    assert not server.requests

    # One class at a time, with the settings of the crawl.
    server.routes["/broken.mp4"] = server.routes["/gone.mp4"] = File(clips[2])
    ran = penstock("retry", work, "--class", "transient")
    assert ran.code == 0, ran.said
    assert "trying again: 1 " in ran.err
    assert {request.path for request in server.requests} == {"/broken.mp4"}
    found = status(work)
    assert (found["items"]["done"], found["items"]["failed"]) == (3, 1)
    check_dataset(work)

    ran = penstock("retry", work, "--stage", "download", "--quiet")
    assert (ran.code, ran.said) == (0, "")
    assert status(work)["items"]["done"] == 4
    assert not status(work)["failures"]
    assert {row["outcome"] for row in videos(work).values()} == {"done"}
    check_dataset(work)
    assert attempts(work)["extract", "done"] == 4


@pytest.mark.slow
def test_retry_of_a_class_leaves_what_is_held_back(
    tmp_path: Path, clips: list[Path], server: MediaServer
) -> None:
    work = tmp_path / "work"
    routes = {"/gone.mp4": BareStatus(404), "/busy.mp4": BareStatus(429, retry_after=3000)}
    server.routes |= routes
    with started(crawl_command(*map(server.url, routes), out=work)) as running:
        ended = {"failed", "throttled"}
        for event in events(running):
            ended.discard(event.get("outcome"))
            if not ended:
                break
        while not (told := status(work)["held"]):  # the ledger has it soon
            pass
        assert [(held["by"], held["items"]) for held in told] == [("127.0.0.1", 1)]
        assert "1 item held for 127.0.0.1, until " in penstock("status", work).out
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert "held for 127.0.0.1 when the run ended: " in penstock("status", work).out

    server.routes["/gone.mp4"] = File(clips[0])
    server.requests.clear()
    ran = penstock("retry", work, "--class", "not_found")
    assert ran.code == 0, ran.said
    assert {request.path for request in server.requests} == {"/gone.mp4"}
    assert status(work)["items"]["pending"] == 1


def test_retry_of_what_has_not_failed(tmp_path: Path, clips: list[Path]) -> None:
    work, text = tmp_path / "work", tmp_path / "text.mp4"
    text.write_text("no video\n")
    assert crawl(clips[0], text, out=work).code == 1
    for option, given, words in (
        ("--class", "not_vido", "there are: not_video"),
        ("--stage", "downlod", "there are: download"),
        ("--stage", "filter", "nothing has failed there"),
        ("--set", "stages.extract.fsp=1", "did you mean 'fps'?"),
    ):
        ran = penstock("retry", work, option, given)
        assert ran.code == 2
        (line,) = ran.err.splitlines()
        assert line.startswith(f"penstock: {option}")
        assert words in line
    assert status(work)["runs"] == 1
    ran = penstock("retry", work)  # the cause is not mended
    assert ran.code == 1
    assert status(work)["failures"][0]["kind"] == "not_video"


# What a crawl shows


def test_quiet_says_nothing_and_the_log_says_all(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    work, log = tmp_path / "work", tmp_path / "log.jsonl"
    ran = crawl(*serve(clips[:2]), "--quiet", "--log-json", log, out=work)
    assert (ran.code, ran.said) == (0, "")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    names = [event["event"] for event in told]
    assert names[0] == "RunStarted"
    assert names[-1] == "RunEnded"
    assert names.count("ItemEnded") == 2
    assert names.count("AttemptStarted") == names.count("AttemptEnded") == 10
    assert crawl(*serve(clips[:2]), "--quiet", "--log-json", log, out=work).code == 0
    assert len(log.read_text().splitlines()) > len(told)
    assert crawl(clips[0], "--log-json", tmp_path, out=work).code == 2


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video\n")
    ran = crawl(*serve(clips[:3]), text, out=tmp_path / "work")
    assert ran.code == 1
    assert "\x1b" not in ran.said
    assert f"crawl: run 1 in {tmp_path / 'work'}" in ran.err
    assert "failed in download: " in ran.err
    assert re.search(r"^videos +4 +3 +0 +1 +0$", ran.out, re.MULTILINE)
    assert "4 videos ended in" in ran.out
    assert f"in {tmp_path / 'work' / 'dataset'}" in ran.out


@pytest.mark.slow
def test_a_terminal_shows_a_live_view(tmp_path: Path, clips: list[Path], serve: Serve) -> None:
    command = crawl_command(*serve(clips[:3]), out=tmp_path / "work")
    command = command[: command.index("--quiet")]
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        screen = _read_all(leader).decode()
        assert process.wait(60) == 0
    os.close(leader)
    assert "Traceback" not in screen
    for stage in ("download", "extract", "filter", "describe", "dedup"):
        assert stage in screen
    assert "3 videos ended in" in screen
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h") >= 1, "the cursor is left hidden"


def _read_all(leader: int) -> bytes:
    """What a terminal is sent, until nobody has it open any more."""
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # so says Linux once the other side is closed
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_stop_the_crawl(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    work = tmp_path / "work"
    command = crawl_command(*serve(clips[:2]), out=work)
    command = command[: command.index("--quiet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.wait(60)
    assert status(work)["items"]["done"] == 2
    check_dataset(work)


@pytest.mark.slow
def test_every_setting_may_come_from_the_file_the_environment_and_the_command_line(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(*arguments: str) -> int:
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        sets = {key: value for key, value in SHAPES.items() if key != "stages.extract.fps"}
        ran = penstock("crawl", clips[0], "--out", work, *settings(sets), *arguments)
        assert ran.code == 0, ran.said
        found = videos(work)[clips[0].name]["frames_sampled"]
        assert isinstance(found, int)
        return found

    assert sampled() == 2
    Path("config.toml").write_text("[stages.extract]\nfps = 2\n")
    assert sampled() == 4
    Path("other.toml").write_text("[stages.extract]\nfps = 5\n")
    assert sampled("--config", "other.toml") == 10
    monkeypatch.setenv("PENSTOCK_EXTRACT_FPS", "10")
    assert sampled("--config", "other.toml") == 20
    assert sampled("--set", "stages.extract.fps=0.5") == 1


@pytest.mark.parametrize("format_", ["coco", "huggingface", "webdataset", "yolo"])
def test_a_crawl_is_exported(crawled: Path, tmp_path: Path, format_: str) -> None:
    ran = penstock("export", crawled, "--format", format_, "--out", tmp_path / "out")
    assert ran.code == 0, ran.said
    assert f"{format_}: 8 train frames in {tmp_path / 'out'}" in ran.out
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))
    check_dataset(crawled)


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory, clips: list[Path]) -> Path:
    """The work folder of a crawl of two clips. Not to be changed."""
    folder = tmp_path_factory.mktemp("crawled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert crawl(*clips[:2], out=folder / "work").code == 0
    return folder / "work"
