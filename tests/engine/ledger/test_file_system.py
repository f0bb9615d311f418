"""A work folder on a network is refused before anything is written there."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from engine.ledger.file_system import kind_of
from tests.acceptance.command import penstock


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/crawl", "nfs4"),
        ("/data/fast/crawl", "xfs"),
        ("/database/crawl", "ext4"),
        ("/data/again", "cifs"),
    ],
)
def test_the_deepest_and_latest_place_above_it_counts(folder: str, kind: str) -> None:
    mounts = [
        ("/", "ext4"),
        ("/data/fast", "XFS"),
        ("/data", "nfs4"),
        ("/data/again", "nfs"),
        ("/data/again", "cifs"),
    ]
    assert kind_of(Path(folder), mounts) == kind


def test_a_run_says_why_and_takes_it_where_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")

    def partitions(**asked: bool) -> list[SimpleNamespace]:
        return [share]

    monkeypatch.setattr(psutil, "disk_partitions", partitions)
    nothing, work = tmp_path / "nothing.txt", tmp_path / "work"
    nothing.touch()
    refused = penstock("crawl", "https://example.invalid/v", "--out", work, "--quiet")
    assert refused.code == 2
    assert not work.exists()
    (line,) = refused.err.splitlines()
    assert "is on a network file system (nfs4)" in line
    allowed = ("--set", "limits.network_folder=true")
    assert penstock("lesson", "--from", nothing, "--out", work, "--quiet", *allowed).code == 0
