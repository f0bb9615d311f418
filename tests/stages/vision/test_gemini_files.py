"""Files that are too large for a request: sent in pieces, waited for, and deleted."""

import logging
import random
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from stages.vision import gemini_files
from stages.vision.gemini_files import GeminiFiles, NotUploaded, UploadFailed
from tests.stages.files_server import GRANULARITY, Fault, FilesServer, counted, holding_files

KEY = "secret-key"
SIZE = 3 * GRANULARITY + 7


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini_files, "PIECE", GRANULARITY)
    monkeypatch.setattr(gemini_files, "_FIRST_LOOK", 0.01)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    file = tmp_path / "clip.mp4"
    file.write_bytes(random.Random(1).randbytes(SIZE))
    return file


def upload(server: FilesServer, clip: Path, then: Callable[[str], object] = len) -> None:
    async def go() -> None:
        files = GeminiFiles(
            f"{server.origin}/v1beta",
            key=KEY,
            timeout=5,
            attempts=2,
            patience=1.5,
            setting="stages.x.base_url",
        )
        try:
            async with files.uploaded(clip, "video/mp4") as uri:
                then(uri)
        finally:
            await files.close()

    anyio.run(go)


def once(what: str, status: int, at: int = 0) -> Fault:
    return lambda done, before: status if (done, before) == (what, at) else 0


def silent(request: object) -> str:
    return ""


def test_it_is_sent_in_pieces_waited_for_and_deleted(clip: Path) -> None:
    with holding_files(silent, key=KEY, looks=2) as server:

        def look(uri: str) -> None:
            assert uri == f"{server.origin}/v1beta/files/clip-0"
            [held] = server.files.values()
            assert (bytes(held.content), held.mime) == (clip.read_bytes(), "video/mp4")

        upload(server, clip, look)
        assert server.files == {}
        assert counted(server.done) == {"start": 1, "upload": 4, "get": 3, "delete": 1}


@pytest.mark.parametrize("status", [-1, 503])
@pytest.mark.parametrize(
    ("what", "at", "more"),
    [("start", 0, {"start": 2}), ("upload", 2, {"upload": 5, "query": 1}), ("get", 0, {"get": 3})],
)
def test_what_breaks_goes_on_where_it_stood(
    clip: Path, what: str, at: int, more: dict[str, int], status: int
) -> None:
    with holding_files(silent, key=KEY, fault=once(what, status, at)) as server:
        upload(server, clip)
        expected = {"start": 1, "upload": 4, "get": 2, "delete": 1} | more
        assert counted(server.done) == expected


@pytest.mark.parametrize(("status", "every"), [(404, True), (403, False), (400, False)])
def test_a_server_that_refuses_is_named_without_the_key(
    clip: Path, status: int, every: bool
) -> None:
    with (
        holding_files(silent, key=KEY, fault=once("start", status)) as server,
        pytest.raises(NotUploaded, match=rf"127.0.0.1:\d+ answered {status} to an upload") as told,
    ):
        upload(server, clip)
    assert told.value.every == every
    assert KEY not in str(told.value)
    assert "[key]" in str(told.value)


def test_a_file_that_cannot_be_read_is_deleted(clip: Path) -> None:
    with holding_files(silent, state="FAILED") as server:
        with pytest.raises(NotUploaded, match="cannot read it"):
            upload(server, clip)
        assert server.files == {}


def test_one_that_is_never_processed_is_given_up(clip: Path) -> None:
    with holding_files(silent, looks=10_000) as server:
        with pytest.raises(UploadFailed, match=r"not processed a clip within 1.5 s"):
            upload(server, clip)
        assert server.files == {}


def test_a_file_that_cannot_be_deleted_is_told(
    clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with holding_files(silent, fault=once("delete", 500)) as server:
        with caplog.at_level(logging.WARNING):
            upload(server, clip)
        [line] = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        assert "stays with the server for up to 48 hours" in line


def test_nothing_is_sent_to_another_server(clip: Path) -> None:
    with (
        holding_files(silent) as other,
        holding_files(silent, sends_to=other.origin) as server,
    ):
        with pytest.raises(NotUploaded, match="another server") as told:
            upload(server, clip)
        assert told.value.every
        assert other.done == []
