"""A work folder that is damaged, full, read-only, or holds links: one line, and a way out."""

import errno
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.clips import make_corpus
from tests.acceptance.command import SHAPES, Ran, penstock, settings

Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished crawl of one clip: its folder, beside the list."""
    folder = tmp_path_factory.mktemp("finished")
    make_corpus(folder / "clips", 1, scenes=2)
    (clip,) = (folder / "clips").iterdir()
    (folder / "list.txt").write_text(f"{clip}\n")
    assert crawl(folder / "work").code == 0
    return folder / "work"


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return copied(finished, tmp_path)


def copied(work: Path, target: Path) -> Path:
    shutil.copy(work.parent / "list.txt", target / "list.txt")
    shutil.copytree(work, target / "work", symlinks=True)
    return target / "work"


def crawl(work: Path) -> Ran:
    clip = (work.parent / "list.txt").read_text().strip()
    return penstock("crawl", clip, "--out", work, *settings(SHAPES), "--quiet")


def dataset(work: Path) -> Tree:
    folder = work / "dataset"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def item_folder(work: Path) -> Path:
    (folder,) = (work / "items").iterdir()
    return folder


def check_one_line(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.said
    assert len(ran.err.splitlines()) == 1, ran.err
    for word in words:
        assert word in ran.err


# Damage


@pytest.fixture
def damaged(work: Path) -> Path:
    with (work / "penstock.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xaa\x55" * 30_000)
    for ending in ("-wal", "-shm"):
        (work / f"penstock.db{ending}").unlink(missing_ok=True)
    return work


@pytest.mark.parametrize(
    "command", [["status"], ["report"], ["retry"], ["plan", "--items", "9", "--within", "1h"]]
)
def test_a_damaged_ledger_is_called_that_by_every_command(
    damaged: Path, command: list[str]
) -> None:
    check_one_line(penstock(*command, damaged), 2, "the ledger", "is damaged", "move penstock.db*")


def test_what_was_finished_is_taken_up_without_the_damaged_ledger(damaged: Path) -> None:
    before = dataset(damaged)
    check_one_line(crawl(damaged), 2, "is damaged", "give the same list again")
    for path in damaged.glob("penstock.db*"):
        path.rename(damaged.parent / path.name)
    assert crawl(damaged).code == 0
    with sqlite3.connect(damaged / "penstock.db") as db:
        assert db.execute("SELECT stage FROM attempts").fetchall() == []
    assert dataset(damaged) == before


@pytest.mark.parametrize("name", ["video.json", "frames.jsonl", "hashes.jsonl"])
def test_an_output_with_an_empty_file_is_made_again(work: Path, name: str) -> None:
    before = dataset(work)
    (item_folder(work) / "dedup" / name).write_text("")
    assert crawl(work).code == 0
    assert dataset(work) == before


def test_no_frame_is_lost_to_an_empty_file_that_is_read_again(work: Path) -> None:
    before = dataset(work)
    [part] = (item_folder(work) / "extract.parts").iterdir()
    (part / "filter" / "detections.jsonl").write_text("")
    shutil.rmtree(item_folder(work) / "dedup")
    assert crawl(work).code == 0
    assert dataset(work) == before


@pytest.mark.parametrize("name", ["video.json", "frames.jsonl", "hashes.jsonl"])
def test_the_finish_names_the_item_whose_output_it_cannot_read(work: Path, name: str) -> None:
    before = dataset(work)
    item = item_folder(work)
    (item / "dedup" / name).write_text("")
    other = work.parent / "other" / "other.mp4"
    other.parent.mkdir()
    shutil.copy((work.parent / "list.txt").read_text().strip(), other)
    ran = penstock("crawl", other, "--out", work, *settings(SHAPES), "--quiet")
    check_one_line(ran, 1, "the finish cannot read the outputs of", item.name, f"delete {item}")
    assert dataset(work) == before, "the old one stays"


# Folders that may only be read


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder as on a read-only disk; skips where there is no right to mount."""
    mounts = [["--bind", folder, folder], ["-o", "remount,bind,ro", folder]]
    if any(subprocess.run(["mount", *mount], capture_output=True).returncode for mount in mounts):
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_folder_that_may_only_be_read_is_read(work: Path) -> None:
    with read_only(work):
        ran = penstock("status", work)
        assert ran.code == 0, ran.err
        assert "the last one: done" in ran.out
        assert penstock("report", work, "--out", work.parent / "r.html").code == 0
        assert (work.parent / "r.html").stat().st_size > 10_000
        assert penstock("report", work).code == 2


def test_what_a_killed_run_left_in_the_log_of_the_ledger_is_read_too(work: Path) -> None:
    db = sqlite3.connect(work / "penstock.db")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("UPDATE runs SET outcome = 'stopped'")
    db.commit()
    copy = work.parent / "copy"
    shutil.copytree(work, copy, symlinks=True)
    db.close()
    (copy / "penstock.db-shm").unlink()
    assert (copy / "penstock.db-wal").stat().st_size
    with read_only(copy):
        ran = penstock("status", copy, "--json")
        assert ran.code == 0, ran.err
        assert '"stopped"' in ran.out


# Links


@pytest.mark.parametrize("name", ["items", "penstock.db"])
def test_a_link_in_place_of_what_a_run_writes_is_refused(work: Path, name: str) -> None:
    (work / name).rename(work.parent / "elsewhere")
    (work / name).symlink_to(work.parent / "elsewhere")
    check_one_line(crawl(work), 2, str(work / name), "is a symbolic link", "--out")


def test_the_file_that_says_who_is_at_work_is_not_written_through_a_link(work: Path) -> None:
    victim = work.parent / "victim"
    victim.write_text("mine")
    (work / "penstock.pid").symlink_to(victim)
    assert crawl(work).code == 0
    assert victim.read_text() == "mine"


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write to the file until the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress_full(), path.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@pytest.mark.parametrize("left", [".download.partial", ".download.scratch-1"])
def test_a_run_begins_though_what_an_earlier_one_left_has_filled_the_disk(
    work: Path, small_disk: Path, left: str
) -> None:
    work = copied(work, small_disk)
    half = work / "items" / "half-0123456789ab" / left / "video.mp4.part"
    fill(half)
    assert shutil.disk_usage(small_disk).free == 0
    assert crawl(work).code == 0
    assert not half.exists()


def test_a_disk_that_others_have_filled_is_called_full(work: Path, small_disk: Path) -> None:
    work = copied(work, small_disk)
    fill(small_disk / "others")
    ran = crawl(work)
    check_one_line(ran, 3, "the disk", "is full", "free some")
    assert "move it away" not in ran.err
    (small_disk / "others").unlink()
    assert crawl(work).code == 0
