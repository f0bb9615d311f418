"""What is said is an input of the document: with its times, and searched with it."""

from pathlib import Path

from click.testing import CliRunner

from engine.cli.main import main
from stages.recipe.pipeline import recipe
from tests.stages.recipe.cooking import documents, make_video, run, says, told_to_write
from tests.stages.vision_server import openai, serving

SRT = """1
00:00:00,500 --> 00:00:01,500
Two spoons of salt.
"""


def test_what_is_said_is_told_with_its_times(tmp_path: Path) -> None:
    flag = next(flag for flag in recipe.flags if flag.name == "--speech")
    video = make_video(tmp_path / "omelette.mp4", shots=5)
    video.with_suffix(".en.srt").write_text(SRT)
    work = tmp_path / "work"
    beside = {"chunks__prefer": "subtitles", "transcribe__backend": "off", "frames__most": 1}
    with serving(says=says) as server:
        report = run(work, openai(server), video, flags=flag.sets, **beside)
        [told] = told_to_write(server.requests)
    assert report.items["done"] == 1
    assert told["words"] == [{"start": 0.5, "end": 1.5, "text": "Two spoons of salt."}]
    assert not documents(work)[0]["partial"]
    found = CliRunner().invoke(main, ["search", str(work), "salt", "--in", "speech"]).output
    assert "  document  0:00  speech: Two spoons of " in found
