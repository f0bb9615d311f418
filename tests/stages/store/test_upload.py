"""Files are put whole, once, under the name of their content, whatever happens on the way."""

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import httpx
import pytest

from engine import Permanent, Skip, Throttled, Transient, UsageError
from stages.store.bucket import PIECE, Bucket
from stages.store.line import share_line
from stages.store.settings import UploadSettings
from stages.store.upload import content_of
from tests.stages.store.servers import (
    ACCOUNT,
    S3_KEYS,
    Link,
    make_container,
    objects,
    refusing,
    uploads,
)
from tests.stages.store.uploading import item_with, upload

pytest.importorskip("obstore")

LARGE = bytes(range(256)) * (2 * PIECE // 256) + b"the end"


def key_of(content: bytes, ending: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}{ending}"


def test_a_small_and_a_large_file_are_there_and_their_links_read_them(s3, bucket, tmp_path):
    files = {"frame.jpg": b"picture", "video.mp4": LARGE}
    item = item_with(tmp_path, "https://example.com/a", files)
    [[frame, video]] = upload(tmp_path, [item], url=f"s3://{bucket}/some/folder", endpoint=s3)
    assert (frame["file"], video["file"]) == ("frame.jpg", "video.mp4")
    assert objects(s3, bucket) == {frame["key"]: 7, video["key"]: len(LARGE)}
    assert video["key"] == f"some/folder/{key_of(LARGE, '.mp4')}"
    assert video["address"] == f"s3://{bucket}/{video['key']}"
    assert (video["size"], video["sent"]) == (len(LARGE), len(LARGE))
    assert "X-Amz-Signature" in video["url"]
    assert video["expires"]
    answer = httpx.get(video["url"])
    assert answer.content == LARGE
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["etag"] == video["etag"]
    assert uploads(s3, bucket) == []


def test_a_rerun_sends_nothing_and_says_the_same(s3, bucket, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"x" * 50_000, "b.mp4": LARGE})
    public = "https://cdn.example.com/b"
    with Link(s3) as link:
        how = {"url": f"s3://{bucket}", "endpoint": link.url, "public_url": public}
        [first] = upload(tmp_path, [item], **how)
        before = link.sent
        [again] = upload(tmp_path, [item], **how)
        assert before > len(LARGE)
        assert link.sent - before < 5_000
    assert [one["sent"] for one in again] == [0, 0]
    assert [one | {"sent": 0} for one in first] == again
    assert first[1]["url"] == f"{public}/{first[1]['key']}"
    assert first[1]["expires"] is None


def test_one_content_of_many_videos_is_sent_once(s3, bucket, tmp_path):
    items = [
        item_with(tmp_path, f"https://example.com/{number}", {"video.mp4": LARGE})
        for number in range(3)
    ]
    told = upload(tmp_path, items, url=f"s3://{bucket}", endpoint=s3)
    assert sorted(one["sent"] for [one] in told) == [0, 0, len(LARGE)]
    assert len(objects(s3, bucket)) == 1


def test_the_video_that_its_description_names_is_put(s3, bucket, tmp_path):
    files = {"info.json": b'{"file": "video.webm"}', "video.webm": b"v", "subtitles.vtt": b"s"}
    item = item_with(tmp_path, "https://example.com/a", files)
    [[video]] = upload(tmp_path, [item], url=f"s3://{bucket}", endpoint=s3)
    assert video["file"] == "video.webm"


def test_azure_takes_small_and_large_files_too(azure, keys, tmp_path):
    make_container(azure, "videos")
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"picture", "v.mp4": LARGE})
    how = {"url": f"az://{ACCOUNT}/videos/folder", "endpoint": azure}
    [files] = upload(tmp_path, [item], **how)
    assert [one["address"] for one in files] == [
        f"az://{ACCOUNT}/videos/folder/{one['key'].rpartition('/')[2]}" for one in files
    ]
    assert [httpx.get(one["url"]).content for one in files] == [b"picture", LARGE]
    [again] = upload(tmp_path, [item], **how)
    assert [one["sent"] for one in again] == [0, 0]


def test_connections_that_break_are_made_anew_and_leave_nothing(s3, bucket, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.mp4": LARGE})
    with Link(s3) as link:
        link.break_at, link.breaks = 1_000_000, 2
        try:
            upload(tmp_path, [item], url=f"s3://{bucket}", endpoint=link.url)
        except Transient:  # where all tries of a piece met one
            upload(tmp_path, [item], url=f"s3://{bucket}", endpoint=link.url)
        assert link.breaks == 0
    assert objects(s3, bucket) == {key_of(LARGE, ".mp4"): len(LARGE)}
    assert uploads(s3, bucket) == []


def test_a_server_that_is_away_is_tried_again_later(s3, bucket, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.mp4": b"small"})
    with Link(s3) as link:
        away = link.url
    with pytest.raises(Transient, match="could not be reached") as error:
        upload(tmp_path, [item], url=f"s3://{bucket}", endpoint=away)
    assert "\n" not in error.value.reason


PUTTING = """
import sys
from pathlib import Path
from tests.stages.store.test_upload import LARGE
from tests.stages.store.uploading import item_with, upload

workdir, url, endpoint = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
item = item_with(workdir, "https://example.com/a", {"v.mp4": LARGE})
upload(workdir, [item], url=url, endpoint=endpoint)
"""


@pytest.mark.slow
def test_what_a_killed_run_left_of_an_upload_is_ended_by_the_next(s3, bucket, tmp_path):
    with Link(s3) as link:
        link.hold_at = len(LARGE) // 2
        command = [sys.executable, "-c", PUTTING, str(tmp_path), f"s3://{bucket}", link.url]
        with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
            assert link.held.wait(100)
            os.kill(process.pid, signal.SIGKILL)
    assert uploads(s3, bucket) == [key_of(LARGE, ".mp4")]
    assert objects(s3, bucket) == {}, "nothing half is seen"

    item = item_with(tmp_path, "https://example.com/a", {"v.mp4": LARGE})
    [[video]] = upload(tmp_path, [item], url=f"s3://{bucket}", endpoint=s3)
    assert video["sent"] == len(LARGE)
    assert uploads(s3, bucket) == []
    assert list(item.partial("upload").iterdir()) == []


@pytest.mark.parametrize("status", [429, 503])
def test_slow_down_closes_the_gate_of_the_host(status, keys, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    body = "<Error><Code>SlowDown</Code><Message>slower</Message></Error>"
    with refusing(status, body) as url, pytest.raises(Throttled, match="SlowDown") as error:
        upload(tmp_path, [item], url="s3://b", endpoint=url)
    assert error.value.key == url.removeprefix("http://")


def test_a_bucket_that_is_not_there_is_named(s3, bucket, azure, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    for url, endpoint in (("s3://none", s3), (f"az://{ACCOUNT}/none", azure)):
        with pytest.raises(Permanent, match=f"{url}: the bucket is not there"):
            upload(tmp_path, [item], url=url, endpoint=endpoint)
    large = item_with(tmp_path, "https://example.com/b", {"v.mp4": LARGE})
    with pytest.raises(Permanent, match="s3://none: the bucket is not there"):
        upload(tmp_path, [large], url="s3://none", endpoint=s3)


def test_a_wrong_key_is_told_and_not_repeated(azure, keys, monkeypatch, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    body = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"
    with (
        refusing(403, body, looks=403) as url,
        pytest.raises(Permanent, match="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as told,
    ):
        upload(tmp_path, [item], url="s3://b", endpoint=url)
    assert S3_KEYS["AWS_SECRET_ACCESS_KEY"] not in told.value.reason
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with pytest.raises(Permanent, match="check AZURE_STORAGE_ACCOUNT_KEY") as told:
        upload(tmp_path, [item], url=f"az://{ACCOUNT}/videos", endpoint=azure)
    assert "d3Jvbmc" not in told.value.reason


@pytest.mark.parametrize(("ahead", "which"), [(3600, "60 min behind"), (-3600, "60 min ahead of")])
def test_a_clock_that_is_wrong_is_no_item_s_fault(keys, tmp_path, ahead, which):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    with (
        refusing(403, "", looks=403, ahead=ahead) as url,
        pytest.raises(Throttled, match=f"this machine's clock is {which} that of 127") as told,
    ):
        upload(tmp_path, [item], url="s3://b", endpoint=url)
    assert told.value.key == url.removeprefix("http://")


def test_a_server_without_put_if_absent_is_asked_without(keys, tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    body = "<Error><Code>NotImplemented</Code></Error>"
    with refusing(501, body, conditions_alone=True) as url:
        [[file]] = upload(tmp_path, [item], url="s3://b", endpoint=url)
    assert (file["sent"], file["etag"]) == (5, '"given"')


def test_keys_that_are_missing_or_no_keys_are_named(monkeypatch, tmp_path):
    for name in (*S3_KEYS, "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for url, name in (
        ("s3://b", "AWS_ACCESS_KEY_ID"),
        ("az://a/b", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("gs://b", "GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        with pytest.raises(UsageError, match=name):
            upload(tmp_path, [], url=url)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64!")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    for url in ("az://a/b", "gs://b"):
        with pytest.raises(UsageError, match="cannot be opened") as error:
            upload(tmp_path, [], url=url)
        assert "\n" not in str(error.value)
        assert "not base64" not in str(error.value)


def test_without_a_store_nothing_is_done(tmp_path):
    item = item_with(tmp_path, "https://example.com/a", {"v.jpg": b"small"})
    with pytest.raises(Skip, match=r"stages\.upload\.url"):
        upload(tmp_path, [item])


@pytest.mark.parametrize("size", [1000, 2 * PIECE])
def test_a_file_that_changes_meanwhile_is_not_there_half(s3, bucket, tmp_path, size):
    """It is hashed before, and again as it goes."""
    file = tmp_path / "video.mp4"
    file.write_bytes(b"a" * size)
    content = content_of(file)
    file.write_bytes(b"b" * size)

    async def put() -> None:
        opened = Bucket(UploadSettings(url=f"s3://{bucket}", endpoint=s3))
        try:
            await opened.put(content, tmp_path / "mark")
        finally:
            opened.close()

    with pytest.raises(Transient, match="changed while it was uploaded"):
        anyio.run(put)
    assert (objects(s3, bucket), uploads(s3, bucket)) == ({}, [])


@pytest.mark.parametrize("size", [1000, 2 * PIECE])
def test_a_video_of_any_size_waits_for_what_goes_first(s3, bucket, tmp_path, size):
    """The order does not go by the size of files: a small video is not a frame."""
    video, frame = tmp_path / "video.mp4", tmp_path / "frame.jpg"
    video.write_bytes(b"a" * size)
    frame.write_bytes(b"b" * 1000)
    settings = UploadSettings(url=f"s3://{bucket}", endpoint=s3, streams=1)
    there: list[str] = []

    async def put(opened: Bucket, file: Path) -> None:
        await opened.put(content_of(file), tmp_path / f"{file.name}.mark")
        there.append(file.name)

    async def run() -> None:
        with (
            closing(Bucket(settings)) as videos,
            closing(Bucket(settings, first=True)) as frames,
            share_line(f"{videos.host} {bucket}", 1) as loan,
        ):
            line = loan.thing
            await line.enter(first=True)
            async with anyio.create_task_group() as tasks:
                for waiting, opened, file in ((1, videos, video), (2, frames, frame)):
                    tasks.start_soon(put, opened, file)
                    while line.waiting < waiting:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                line.leave()

    anyio.run(run)
    assert there == ["frame.jpg", "video.mp4"]
