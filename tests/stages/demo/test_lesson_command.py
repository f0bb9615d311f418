"""`penstock demo lesson`, from end to end, and its verdict on videos that came out otherwise."""

import json
import shutil
from pathlib import Path

import av
import pytest
from click.testing import Result

from stages.demo.lesson_verdict import judge_lesson
from tests.finished_demo import run_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The demo in a folder where everything around it would get in its way, if it looked."""
    folder = tmp_path_factory.mktemp("lesson")
    (folder / "config.toml").write_text("[stages.clip]\nfps = 7\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_CLIP_FPS", "7")
        patch.setenv("COLUMNS", "80")
        patch.chdir(folder)
        return folder / "out", run_demo("lesson", "--out", folder / "out")


@pytest.fixture
def out(finished: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of the demo's videos, to tamper with."""
    shutil.copytree(finished[0] / "videos", tmp_path / "videos")
    return tmp_path


def wrong(out: Path) -> set[str]:
    return {
        f"{section.title}: {check.name}"
        for section in judge_lesson(out)
        for check in section.checks
        if not check.as_planted
    }


def test_all_is_found_as_it_was_planted(finished: tuple[Path, Result]) -> None:
    out, result = finished
    assert result.exit_code == 0, result.output
    assert "lacks section 5 (Rain): the section's picture cannot be read" in result.output
    lines = result.stdout.splitlines()
    begin = next(at for at, line in enumerate(lines) if "Planted" in line)
    assert max(map(len, lines[begin:-3])) <= 80
    marks = [line[:2] for line in lines[begin:-3] if line[:2].strip()]
    assert set(marks) == {"ok"}
    assert lines[-2].startswith(f"{len(marks)} of {len(marks)} as planted. ")
    assert lines[-1] == f"Try next: penstock report {out}"
    again = run_demo("lesson", "--out", out, "--quiet")
    assert again.exit_code == 0
    assert again.stdout.splitlines()[-2:] == lines[-2:]


def test_the_demo_runs_without_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run_demo("lesson", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "recordings: espeak-ng is not here" in result.output


def test_sound_that_is_elsewhere_is_noticed(out: Path) -> None:
    """The same packets, but for the first half second of the sound."""
    video = out / "videos" / "harbour.mp4"
    with av.open(str(video)) as film, av.open(str(out / "early.mp4"), "w") as early:
        kept = [film.streams.video[0], film.streams.audio[0]]
        made = [early.add_stream_from_template(one) for one in kept]
        for packet in film.demux(kept):
            if packet.dts is None or packet.time_base is None:
                continue
            if packet.stream is kept[1]:
                if packet.dts * packet.time_base < 0.5:
                    continue
                packet.pts = packet.dts = packet.dts - round(0.5 / packet.time_base)
            packet.stream = made[kept.index(packet.stream)]
            early.mux(packet)
    (out / "early.mp4").replace(video)
    found = wrong(out)
    assert {"Sound: The boat leaves", "Video: ends", "Chapters: all"} <= found
    assert "Pictures: The boat leaves" not in found


def test_a_video_that_is_not_there_and_gaps_that_are_not_told_are_noticed(out: Path) -> None:
    told = out / "videos" / "harbour.json"
    facts = json.loads(told.read_text())
    told.write_text(json.dumps(facts | {"gaps": []}))
    assert wrong(out) == {"Video: gaps"}
    (out / "videos" / "harbour.mp4").unlink()
    assert wrong(out) == {"Video: harbour.mp4"}
