"""`penstock lesson` on scripts: what comes out, and what is made again."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import pytest

from engine import Item, load_config, run_pipeline
from stages.lesson.pipeline import lesson
from tests.engine.toys import query

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)

SETS = ["limits.free_disk=0", 'stages.image.size="320x180"', "limits.backoff=0.01"]

SECTIONS: list[dict[str, Any]] = [
    {"title": "The sea", "text": "Twice a day the sea climbs the beach. Then it goes back."},
    {"title": "The Moon", "text": "The Moon pulls at it.", "image": "the Moon"},
    {"text": "That is all."},
]


def write(folder: Path, *sections: dict[str, Any], **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tides.json"
    path.write_text(json.dumps({"title": "Tides", "sections": sections or SECTIONS, **more}))
    return path


def run(work: Path, script: Path, *sets: str) -> Any:
    config = load_config(lesson, None, {}, [*SETS, *sets], {})
    return run_pipeline(lesson, config, work, [str(script)])


def facts(work: Path) -> Any:
    return json.loads((work / "videos" / "tides.json").read_text("utf-8"))


def attempts(work: Path) -> list[tuple[str, str]]:
    return [
        (stage, item.rpartition("/")[2][-1:])
        for item, stage in query(work, "SELECT item, stage FROM attempts ORDER BY id")
    ]


def test_a_script_becomes_a_video_and_a_changed_sentence_is_all_that_is_made_again(
    tmp_path: Path,
) -> None:
    work, script = tmp_path / "work", write(tmp_path / "script")
    assert run(work, script).exit_code == 0
    told = facts(work)
    assert {one["made_by"]["voice"] for one in told["sections"]} == {"espeak:en"}
    assert [one["title"] for one in told["sections"]] == ["The sea", "The Moon", None]
    assert told["gaps"] == []
    with av.open(str(work / "videos" / "tides.mp4")) as film:
        kinds = {stream.type: stream for stream in film.streams}
        assert kinds["video"].codec_context.name == "h264"
        assert kinds["audio"].codec_context.name == "aac"
        assert film.duration / 1e6 == pytest.approx(told["seconds"], abs=0.04)
        assert [one["metadata"]["title"] for one in film.chapters()] == ["The sea", "The Moon"]
    captions = (work / "videos" / "tides.vtt").read_text("utf-8")
    for sentence in ("Then it goes back.", "That is all."):
        assert sentence in captions
    film_before = (work / "videos" / "tides.mp4").read_bytes()

    before = len(attempts(work))
    assert run(work, script).exit_code == 0
    assert len(attempts(work)) == before, "a rerun does nothing"

    changed = [SECTIONS[0], SECTIONS[1] | {"text": "The Moon pulls at the water."}, SECTIONS[2]]
    assert run(work, write(tmp_path / "script", *changed)).exit_code == 0
    again = attempts(work)[before:]
    assert sorted(one for one in again if one[0] in ("image", "voice", "clip")) == [
        ("clip", "1"), ("image", "1"), ("voice", "1"),
    ]  # fmt: skip
    assert (work / "videos" / "tides.mp4").read_bytes() != film_before


def test_a_section_that_fails_is_shown_as_missing_and_mended_later(tmp_path: Path) -> None:
    folder = tmp_path / "script"
    script = write(folder, SECTIONS[0], SECTIONS[2] | {"image_file": "a.png"})
    (folder / "a.png").write_bytes(b"no picture")
    work = tmp_path / "work"
    report = run(work, script)
    told = facts(work)
    [gap] = told["gaps"]
    assert gap["position"] == 1
    assert gap["why"].startswith("the section's picture cannot be read: ")
    assert report.items["done"] == 1
    assert report.exit_code == 1
    assert report.finish[-2:] == [
        f"tides.mp4 lacks section 2: {gap['why']}",
        f"mend what is missing: penstock retry {work} --gaps",
    ]
    assert len(told["sections"]) == 2
    skipped = run(tmp_path / "work", script, "stages.lesson.on_failure=skip")
    assert skipped.items["done"] == 1
    assert [one["position"] for one in facts(tmp_path / "work")["sections"]] == [0]
    from PIL import Image

    Image.new("RGBA", (100, 50), (200, 0, 0, 128)).save(folder / "a.png")
    assert run(tmp_path / "work", script).exit_code == 0
    told = facts(tmp_path / "work")
    assert told["gaps"] == []
    assert told["sections"][1]["made_by"]["image"] == "file"


def test_a_section_with_letters_that_no_font_has_is_shown_as_missing(tmp_path: Path) -> None:
    strange = "\U0001e900\U00016e40\U0001e7e0"
    script = write(tmp_path / "script", SECTIONS[2], {"title": strange, "seconds": 1})
    report = run(tmp_path / "work", script)
    [gap] = facts(tmp_path / "work")["gaps"]
    assert report.items["done"] == 1
    assert "no font of this machine has" in gap["why"]


def test_recordings_and_silence_take_the_voices_place(tmp_path: Path) -> None:
    from stages.lesson.voices.espeak import speak
    from stages.lesson.voices.pcm import write_wav

    folder = tmp_path / "script"
    folder.mkdir()
    write_wav(speak("One two three. Four five six.", "en", 160), folder / "said.wav")
    sections = [
        {"text": "One two three. Four five six.", "voice_file": "said.wav"},
        {"seconds": 2.0},
    ]
    work = tmp_path / "work"
    assert run(work, write(folder, *sections)).exit_code == 0
    told = facts(work)
    assert told["sections"][0]["made_by"]["voice"] == "file"
    assert told["sections"][1]["end"] - told["sections"][1]["start"] == pytest.approx(2.0)


def test_a_wrong_script_fails_with_its_lines_and_harms_no_other(tmp_path: Path) -> None:
    script = write(tmp_path / "script", {"txt": "a"})
    report = run(tmp_path / "work", script)
    assert report.exit_code == 1
    item = Item.at(tmp_path / "work", str(script))
    reasons = query(tmp_path / "work", f"SELECT reason FROM stages WHERE item = '{item.id}'")
    assert "tides.json, line 1: sections[0].txt: is no field of a script" in reasons[0][0]
