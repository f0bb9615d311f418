"""Folders whose names are not what a library in C expects: all works in them nevertheless."""

import os
from pathlib import Path

import pytest

from tests.acceptance.clips import SHARP, make_clip
from tests.acceptance.command import crawl, crawl_command, penstock, started
from tests.acceptance.outcome import bytes_of, check_dataset

pytestmark = pytest.mark.slow

NOT_UTF8 = os.fsdecode(b"w\xf6rk's % \xff")
"""A name as a Latin-1 system writes it, with all else that a name may hold."""

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}
"""An environment in which every letter beyond ASCII reaches Python as bytes of no known text."""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / NOT_UTF8
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    return folder


def test_a_crawl_from_and_into_a_folder_that_is_not_utf8(odd: Path, tmp_path: Path) -> None:
    clip = make_clip(odd / "clip.mp4", range(4), options=SHARP)
    ran = crawl(clip, out=odd)
    assert ran.code == 0, ran.said
    check_dataset(odd)
    assert penstock("report", odd).code == 0
    assert (odd / "report.html").is_file()
    for form in ("coco", "yolo", "webdataset", "huggingface"):
        told = penstock("export", odd, "--format", form, "--out", odd / f"as {form}")
        assert told.code == 0, told.said


def test_a_crawl_where_the_locale_knows_no_letters(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", range(4), options=SHARP)
    expected = tmp_path / "plain"
    assert crawl(clip, out=expected).code == 0
    folder = tmp_path / "wörk"
    with started(crawl_command(clip, out=folder), ASCII) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert bytes_of(folder / "dataset") == bytes_of(expected / "dataset")
