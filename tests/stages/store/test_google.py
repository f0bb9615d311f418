"""Uploads to Google Cloud Storage, by the real client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import Permanent, UsageError
from stages.store.bucket import PIECE
from tests.stages.store.google import Google, serving_google
from tests.stages.store.uploading import item_with, upload

pytest.importorskip("obstore")

LARGE = bytes(range(256)) * (2 * PIECE // 256) + b"the end"


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with serving_google(tmp_path, "videos") as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.account))
        yield server


def test_small_and_large_files_are_there_and_their_links_read_them(
    google: Google, tmp_path: Path
) -> None:
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"picture", "v.mp4": LARGE})
    how: dict[str, Any] = {"url": "gs://videos/folder", "endpoint": google.url}
    [files] = upload(tmp_path, [item], **how)
    assert [one["address"] for one in files] == [
        f"gs://videos/folder/{one['key'].rpartition('/')[2]}" for one in files
    ]
    assert {name: content for name, (content, _) in google.files.items()} == {
        f"videos/{files[0]['key']}": b"picture",
        f"videos/{files[1]['key']}": LARGE,
    }
    assert google.uploads == {}
    assert [httpx.get(one["url"]).content for one in files] == [b"picture", LARGE]
    assert httpx.get(files[0]["url"].replace("Expires=", "Expires=9")).status_code == 403
    sent = google.puts
    [again] = upload(tmp_path, [item], **how)
    assert [one["sent"] for one in again] == [0, 0]
    assert google.puts == sent


def test_a_bucket_that_is_not_there_is_named(google: Google, tmp_path: Path) -> None:
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"picture"})
    with pytest.raises(Permanent, match="gs://none"):
        upload(tmp_path, [item], url="gs://none", endpoint=google.url)


def test_the_key_of_another_account_is_refused_once(google: Google, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving_google(tmp_path / "other") as other:
        google.account.write_text(other.account.read_text())
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"picture"})
    with pytest.raises(Permanent) as refused:
        upload(tmp_path, [item], url="gs://videos", endpoint=google.url)
    assert "private" not in str(refused.value)


@pytest.mark.parametrize("content", ["no JSON", "{}", json.dumps({"private_key": "none"})])
def test_a_file_that_is_no_key_is_named(google: Google, tmp_path: Path, content: str) -> None:
    google.account.write_text(content)
    item = item_with(tmp_path, "https://example.com/a", {"a.jpg": b"picture"})
    with pytest.raises(UsageError, match=r"check GOOGLE_APPLICATION_CREDENTIALS$") as refused:
        upload(tmp_path, [item], url="gs://videos", endpoint=google.url)
    assert "\n" not in str(refused.value)
    assert "Generic" not in str(refused.value)
