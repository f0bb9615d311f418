"""Everything a person can get wrong: one line that names it, the right exit code, no traceback."""

import json
import sqlite3
from pathlib import Path

import pytest

from stages.demo.server import MediaServer
from tests.acceptance.command import crawl, penstock
from tests.acceptance.refused import check_refused, check_refused_at_start

URL = "http://example.invalid/video.mp4"


# The command line


def test_no_address_shows_how_it_is_done() -> None:
    ran = penstock("crawl")
    assert ran.code == 2
    assert "Usage: penstock crawl [OPTIONS] [URL]..." in ran.said
    check_refused(penstock("crawl", "--quiet"), "nothing to crawl: give URLs, or --from FILE")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crwal", URL], ["No such command 'crwal'", "Did you mean 'crawl'?"]),
        (["crawl", "--form", "urls.txt"], ["No such option '--form'", "--from"]),
        (["crawl", "--from"], ["'--from' requires an argument"]),
        (["status"], ["Missing argument 'DIR'"]),
        (["status", "a", "b"], ["unexpected extra argument"]),
        (["export", ".", "--format", "yollo"], ["'yollo'", "yolo"]),
    ],
)
def test_a_command_line_that_cannot_be_read(arguments: list[str], words: list[str]) -> None:
    check_refused(penstock(*arguments), *words)


# Settings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("stages.extract.fsp=2", ["stages.extract.fsp", "did you mean 'fps'?"]),
        ("extract.fps=2", ["extract.fps", "did you mean 'stages.extract.fps'?"]),
        ("stages.extrct.fps=2", ["no stage 'extrct'", "did you mean 'extract'?"]),
        ("limits.rat=2", ["limits.rat", "did you mean 'rate'?"]),
        ("stages.extract.fps", ["--set stages.extract.fps", "NAME=VALUE"]),
        ("stages.extract.fps=fast", ["stages.extract.fps", '"fast"', "a number over 0"]),
        ("stages.extract.fps=-1", ["stages.extract.fps = -1", "a number over 0"]),
        ("stages.extract.workers=0", ["stages.extract.workers = 0"]),
        ("stages.extract.workers=some", ["stages.extract.workers", '"auto"']),
        ("stages.filter.workers=3", ["stages.filter.workers = 3", "2 at most"]),
        ("stages.filter.confidence=1.5", ["stages.filter.confidence = 1.5", "from 0 to 1"]),
        ("stages.filter.classes=person", ["stages.filter.classes"]),
        ("stages.filter.device=gpu", ["stages.filter.device"]),
        ("stages.describe.backend=chatgpt", ["stages.describe.backend", '"openai"']),
        ("stages.describe.base_url=localhost:8000", ["https://host/v1"]),
        ("stages.describe.placement=process", ["stages.describe.placement", "async"]),
        ("stages.download.placement=remote", ["stages.download.placement", '"process"']),
        ("limits.free_disk=lots", ["limits.free_disk", '"2 GB"']),
        ("limits.failure_minimum=60", ["failure_window (50)"]),
        ("stages.download.options=best", ["stages.download.options", "a table"]),
    ],
)
def test_a_setting_that_cannot_be(given: str, words: list[str]) -> None:
    line = check_refused(penstock("crawl", URL, "--set", given), *words)
    assert "--set" in line
    assert not Path("penstock-crawl").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PENSTOCK_EXTRACT_FSP", "2", ["did you mean PENSTOCK_EXTRACT_FPS?"]),
        ("PENSTOCK_EXTRCT_FPS", "2", ["did you mean PENSTOCK_EXTRACT_FPS?"]),
        ("PENSTOCK_EXTRACT_FPS", "fast", ["stages.extract.fps", '"fast"', "a number over 0"]),
    ],
)
def test_a_variable_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    check_refused(penstock("crawl", URL), name, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[stages.extract]\nfsp = 2\n", ["line 2", "stages.extract.fsp", "did you mean 'fps'?"]),
        ("[stages.extrct]\nfps = 2\n", ["line 1", "'extrct'", "did you mean 'extract'?"]),
        ('[stages.extract]\nfps = "fast"\n', ["line 2", '"fast"', "a number over 0"]),
        ("[stages.extract\n", ["not valid TOML", "line 1"]),
        ("fps = 2\n", ["line 1", "fps"]),
        ("\xff\xfe", ["UTF-8"]),
    ],
)
def test_a_configuration_file_that_cannot_be(content: str, words: list[str]) -> None:
    Path("my.toml").write_bytes(content.encode("latin-1"))
    check_refused(penstock("crawl", URL, "--config", "my.toml"), "my.toml", *words)
    # Without --config it is the file of that name here.
    Path("my.toml").rename("config.toml")
    check_refused(penstock("crawl", URL), "config.toml", *words)
    check_refused(penstock("doctor"), "config.toml", *words)


@pytest.mark.parametrize(
    ("config", "words"),
    [("missing.toml", "there is no such configuration file"), (".", "Is a directory")],
)
def test_a_configuration_file_that_is_not_there(config: str, words: str) -> None:
    check_refused(penstock("crawl", URL, "--config", config), f"{config}: ", words)


# The work folder


def test_a_work_folder_that_cannot_be(tmp_path: Path, clips: list[Path]) -> None:
    file = tmp_path / "file"
    file.touch()
    words = "cannot be used as a work folder: Not a directory; choose another with --out"
    check_refused(crawl(clips[0], out=file), f"{file} {words}")
    check_refused(crawl(clips[0], out=file / "deeper"), f"{file / 'deeper'} {words}")
    # What even root may not write to.
    check_refused(crawl(clips[0], out=Path("/proc/penstock")), "/proc/penstock cannot be used")


@pytest.mark.parametrize("command", ["crawl", "status", "retry"])
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (None, "file is not a database"),
        ("CREATE TABLE bookmarks (url)", "is another program's database"),
        ("PRAGMA user_version = 99", "was written by another version of Penstock"),
    ],
)
def test_a_ledger_that_is_none(
    tmp_path: Path, clips: list[Path], command: str, statement: str | None, words: str
) -> None:
    work, ledger = tmp_path / "work", tmp_path / "work" / "penstock.db"
    work.mkdir()
    if statement is None:
        ledger.write_text("not a database, but long enough to be read as one\n" * 10)
    else:
        db = sqlite3.connect(ledger)
        db.execute(statement)
        db.commit()
        db.close()
    before = ledger.read_bytes()
    ran = crawl(clips[0], out=work) if command == "crawl" else penstock(command, work)
    check_refused(ran, str(ledger), words)
    assert ledger.read_bytes() == before


@pytest.mark.parametrize("command", [["status"], ["retry"], ["export", "--format", "yolo"]])
def test_commands_on_folders_that_no_run_wrote(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("missing", "empty"):
        check_refused(penstock(*command, folder), folder)
    assert not (tmp_path / "missing").exists()
    assert not list((tmp_path / "empty").iterdir())


def test_another_pipelines_folder_is_left_alone(tmp_path: Path, clips: list[Path]) -> None:
    work = tmp_path / "work"
    assert crawl(clips[0], out=work).code == 0
    db = sqlite3.connect(work / "penstock.db")
    db.execute("UPDATE runs SET pipeline = 'transcribe'")
    db.commit()
    db.close()
    check_refused_at_start(crawl(clips[0], out=work), f"{work} holds the work of pipeline")
    check_refused(penstock("status", work), "no pipeline is named 'transcribe'", "crawl")


# What a stage needs


def test_an_option_that_yt_dlp_does_not_have(tmp_path: Path, clips: list[Path]) -> None:
    ran = crawl(clips[0], out=tmp_path, sets={"stages.download.options": '{fromat = "best"}'})
    check_refused_at_start(ran, "stages.download.options", "'fromat'", "did you mean 'format'?")


def test_a_class_that_the_model_does_not_know(tmp_path: Path, clips: list[Path]) -> None:
    ran = crawl(clips[0], out=tmp_path / "work", sets={"stages.filter.classes": ["sqare"]})
    check_refused_at_start(ran, "stages.filter.classes", "'sqare'", "did you mean 'square'?")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("cookies", "nowhere.txt", "cannot read 'nowhere.txt'"),
        ("cookies_from_browser", "netscape", "is not BROWSER"),
        ("options", '{frmat = "b"}', "did you mean 'format'?"),
    ],
)
def test_what_the_process_of_a_stage_does_not_open_with(
    tmp_path: Path, setting: str, value: object, words: str
) -> None:
    ran = crawl(URL, out=tmp_path / "work", sets={f"stages.download.{setting}": value})
    check_refused_at_start(ran, f"stages.download.{setting}", words)


def test_weights_that_are_not_there(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for weights, words in (
        ("mine.pt", f"put the file at {tmp_path / 'cache' / 'penstock' / 'weights' / 'mine.pt'}"),
        ("folder/mine.pt", "weights folder/mine.pt do not exist"),
    ):
        ran = crawl(clips[0], out=tmp_path / "work", sets={"stages.filter.weights": weights})
        check_refused_at_start(ran, weights, words, "set stages.filter.weights")
        assert "the last one: could not start" in penstock("status", tmp_path / "work").out


def test_published_weights_without_a_network(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    ran = crawl(clips[0], out=tmp_path / "work", sets={"stages.filter.weights": "yolo11n.pt"})
    check_refused_at_start(
        ran, "weights yolo11n.pt are not here and could not be fetched", "put the file at"
    )


def test_a_file_that_is_no_weights(tmp_path: Path, clips: list[Path]) -> None:
    for name in ("broken.pt", "broken.onnx", "text.txt"):
        (tmp_path / name).write_text("no weights\n")
        sets = {"stages.filter.weights": str(tmp_path / name)}
        check_refused_at_start(crawl(clips[0], out=tmp_path / "work", sets=sets), name)


@pytest.mark.parametrize(
    ("backend", "variable"), [("openai", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY")]
)
def test_a_paid_service_without_a_key(
    tmp_path: Path, clips: list[Path], backend: str, variable: str
) -> None:
    ran = crawl(clips[0], out=tmp_path / "work", sets={"stages.describe.backend": backend})
    check_refused_at_start(ran, f"{backend} needs a key", variable)


@pytest.mark.parametrize("key", ["sk-secret value", "sk-sécret"])
def test_a_key_in_the_wrong_place_is_not_repeated(
    tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    ran = crawl(clips[0], out=tmp_path / "work", sets={"stages.describe.backend": "openai"})
    check_refused_at_start(ran, "OPENAI_API_KEY")
    assert key not in ran.said
    given = json.dumps("sk-secret-0123456789")
    ran = penstock("crawl", URL, "--set", f"stages.describe.api_key_env={given}")
    check_refused(ran, "stages.describe.api_key_env", "NAME of an environment variable")
    assert "sk-secret" not in ran.said


def test_cookies_that_cannot_be_read_are_refused_by_the_process_that_reads_them(
    tmp_path: Path, server: MediaServer, capfd: pytest.CaptureFixture[str]
) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1 FALSE / FALSE 4000000000 id s3cret\n"
    )
    sets = {"stages.download.cookies": str(cookies), "stages.download.placement": "process"}
    ran = crawl(server.url("/a.mp4"), out=tmp_path / "work", sets=sets)
    check_refused_at_start(ran, f"{cookies}, line 2")
    assert "s3cret" not in ran.said
    assert capfd.readouterr().err == "", "the process itself says nothing"
