"""Scenes as subtitles, chapters and tables, read back by those who read such files."""

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from stages.files.json_lines import write_lines
from stages.scenes.exports.cues import clock
from tests.stages.sinks.records import said, scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A work folder with the results of two videos, of which one has speech."""
    results = tmp_path / "work" / "scenes"
    results.mkdir(parents=True)
    long = "A segment that is far too long for one line of a subtitle, and so takes two or three."
    scenes = [
        scene(0, video="talk", speech=said("Hello & <welcome>.", long)),
        scene(
            1, video="talk", speech=said("Bye --> bye.", start=10), captions=[{"text": "a; dog"}]
        ),
        scene(2, video="talk", end=24, description={"description": "Short. Very.", "tags": []}),
        scene(3, video="talk", start=24, description={"description": "The end=near #1."}),
        scene(0, video="zebra", objects=[{"class": "zebra"}]),
    ]
    write_lines(results / "scenes.jsonl", scenes)
    documents = [
        {"video": "talk", "title": "A talk", "source": "talk.mp4", "scenes": 4},
        {"video": "zebra", "title": None, "source": "zebra.mp4", "scenes": 1},
    ]
    write_lines(results / "videos.jsonl", documents)
    return tmp_path / "work"


def export(folder: Path, form: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["export", str(folder), "--format", form, *more])


def test_srt_has_a_cue_for_each_segment(folder):
    told = export(folder, "srt")
    assert told.exit_code == 0, told.output
    assert "srt: 1 of 2 videos in " in told.output
    [file] = (folder / "export" / "srt").glob("*.srt")
    blocks = file.read_text().strip().split("\n\n")
    assert blocks[0] == "1\n00:00:00,000 --> 00:00:02,000\nHello & <welcome>."
    assert len(blocks) == 3
    assert all(len(line) <= 42 for line in blocks[1].splitlines()[2:])
    assert blocks[2].splitlines()[1] == "00:00:10,000 --> 00:00:12,000"


def test_subtitles_are_what_ffmpeg_reads(folder):
    for form in ("srt", "vtt"):
        export(folder, form)
        with av.open(str(folder / "export" / form / f"talk.{form}")) as container:
            [stream] = container.streams
            packets = [one for one in container.demux() if one.size]
            starts = [float((one.pts or 0) * (one.time_base or Fraction(1))) for one in packets]
        assert starts == [0, 2, 10], stream
    text = (folder / "export" / "vtt" / "talk.vtt").read_text()
    assert text.startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHello &amp; &lt;welcome&gt;.\n"
    )
    assert "Bye --&gt; bye." in text


def test_chapters_are_what_ffmpeg_reads_and_youtube_takes(folder):
    assert export(folder, "chapters").exit_code == 0
    out = folder / "export" / "chapters"
    with av.open(str(out / "talk.ffmetadata"), format="ffmetadata") as container:
        chapters = container.chapters()
        assert container.metadata["title"] == "A talk"
    assert [one["metadata"]["title"] for one in chapters] == [
        "Scene 1",
        "a; dog",
        "Short",
        "The end=near #1",
    ]
    assert (out / "zebra.ffmetadata").is_file()
    assert not (out / "zebra.txt").exists(), "one chapter is none"
    # The third is too short, and joins the second.
    assert (out / "talk.txt").read_text() == "0:00 Scene 1\n0:10 a; dog\n0:24 The end=near #1\n"


def test_chapters_of_a_summary_go_before_scenes(folder):
    documents = [
        {
            "video": "talk",
            "scenes": 4,
            "chapters": [{"start": 0, "end": 30, "title": "All of it"}],
        },
        {"video": "zebra", "scenes": 1},
    ]
    write_lines(folder / "scenes" / "videos.jsonl", documents)
    export(folder, "chapters")
    text = (folder / "export" / "chapters" / "talk.ffmetadata").read_text()
    assert text.count("[CHAPTER]") == 1
    assert "title=All of it" in text


def test_tables_have_a_row_for_each_scene(folder):
    assert export(folder, "csv").exit_code == 0
    with (folder / "export" / "csv" / "scenes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scene"] for row in rows] == ["0", "1", "2", "3", "0"]
    assert rows[1]["said"] == "Bye --> bye."
    assert rows[4]["seen"] == "zebra"
    assert rows[4]["said"] == ""
    export(folder, "jsonl")
    lines = (folder / "export" / "jsonl" / "scenes.jsonl").read_text().splitlines()
    assert [json.loads(line)["title"] for line in lines] == ["A talk"] * 4 + [None]


def test_what_cannot_be_exported_is_said_in_one_line(folder, tmp_path):
    for arguments, told in [
        ((tmp_path, "srt"), "holds no scenes; run `penstock scenes`"),
        ((folder, "srt", "--split", "0.2"), "--split holds out videos of a crawl's dataset"),
        ((folder, "coco"), "holds scenes, which coco is not for; these are: srt, vtt"),
        ((folder, "vtt", "--out", str(folder / "scenes" / "x")), "lies in the scenes itself"),
    ]:
        answer = export(*arguments)
        assert answer.exit_code == 2
        assert told in answer.output
        assert len(answer.output.splitlines()) == 1


def test_times_are_rounded_to_milliseconds():
    assert clock(3725.9996, ",") == "01:02:06,000"
    assert clock(59.9994, ".") == "00:00:59.999"
