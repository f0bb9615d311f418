"""What the benchmarks of scenes count with: chains of attempts, and words lost and doubled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scenes_path import RunLog, TimedAttempt, by_step, critical_path
from benchmarks.speech_service import seconds_of, told
from benchmarks.word_alignment import WordCount, counted
from engine.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    ItemEntered,
    PartEntered,
)
from engine.views.item_path import ItemPaths
from stages.scenes.pipeline import scenes
from stages.sound.track import RATE
from stages.speech.audio_file import encode

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@pytest.fixture
def log() -> RunLog:
    """A video of two scenes; speech, in two chunks, takes longest, and the second one is late."""
    scene = ["v/scenes.parts/0", "v/scenes.parts/1"]
    chunk = ["v/chunks.parts/0", "v/chunks.parts/1"]
    attempts = [
        ("v", "download", 0.0, 1.0),
        ("v", "audio", 1.5, 3.5),
        ("v", "scenes", 1.5, 9.0),
        ("v", "chunks", 4.0, 10.0),
        (chunk[0], "transcribe", 7.0, 17.0),
        (chunk[1], "transcribe", 11.0, 20.0),
        ("v", "transcript", 20.5, 21.0),
        (scene[0], "captions", 5.0, 8.0),
        (scene[1], "captions", 9.0, 10.0),
        (scene[0], "fuse", 21.0, 21.25),
        (scene[1], "fuse", 21.25, 21.5),
        ("v", "collect", 22.0, 22.5),
    ]
    entered = {
        scene[0]: ("v", "scenes", 5.0),
        scene[1]: ("v", "scenes", 9.0),
        chunk[0]: ("v", "chunks", 6.5),
        chunk[1]: ("v", "chunks", 9.5),
    }
    return RunLog([TimedAttempt(*one) for one in attempts], entered, 23.0)


def test_the_longest_chain_is_found_through_parts_and_what_gathers_them(log: RunLog) -> None:
    path = critical_path(scenes, log)
    assert list(by_step(path).items()) == [
        ("download", 1.0),
        ("audio", 2.0),
        ("chunks", 5.5),
        ("transcribe", 9.0),
        ("transcript", 0.5),
        ("fuse", 0.25),
        ("collect", 0.5),
    ]
    assert path.seconds == 18.75


def test_a_step_is_at_work_while_any_of_its_attempts_is(log: RunLog) -> None:
    assert log.at_work("transcribe") == 13.0
    assert log.at_work("captions") == 4.0


@pytest.mark.parametrize("form", ["ogg", "flac"])
def test_the_server_reads_how_long_a_sound_is_and_says_words_all_along(form: str) -> None:
    import numpy as np

    sound = encode(np.zeros(round(12.3 * RATE), np.int16), form)
    seconds = seconds_of(b"--x\r\nname\r\n\r\n" + sound + b"\r\n--x--\r\n")
    assert seconds == pytest.approx(12.3, abs=0.05)
    words = told(seconds)["words"]
    assert words[0]["start"] == 0
    assert words[-1]["end"] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        ("it was the best of times", (0, 0, 0, 0)),
        ("it was best of times", (1, 0, 0, 0)),
        ("it was the the best of times", (0, 1, 0, 0)),
        ("it was the best was the best of times", (0, 3, 0, 0)),
        ("it was the very best of times", (0, 0, 1, 0)),
        ("it was a best of rhymes", (0, 0, 0, 2)),
        ("it was the best of", (1, 0, 0, 0)),
    ],
)
def test_words_are_lost_doubled_or_made_up(heard: str, found: tuple[int, ...]) -> None:
    said = ["it", "was", "the", "best", "of", "times"]
    assert counted(said, heard.split()) == WordCount(6, len(heard.split()), *found)


@given(WORDS, WORDS)
def test_every_word_is_accounted_for(said: list[str], heard: list[str]) -> None:
    found = counted(said, heard)
    assert found.said - found.lost + found.doubled + found.made_up == found.heard
    assert counted(said, said) == WordCount(len(said), len(said), 0, 0, 0, 0)


def test_the_path_of_an_item_under_way_comes_to_the_same(log: RunLog) -> None:
    """What progress tells, by events, is at the end what the benchmark finds in the log."""
    now = [0.0]
    paths = ItemPaths(scenes, lambda: now[0])
    paths(ItemEntered("v", "v", None))
    told: list[tuple[float, int, Event]] = []
    for one in log.attempts:
        told.append((one.start, 1, AttemptStarted(one.item, one.step, 0, 1)))
        ended = AttemptEnded(one.item, one.step, 0, 1, "done", True, one.end - one.start)
        told.append((one.end, 0, ended))
    for place, (part, (parent, split, at)) in enumerate(log.entered.items()):
        told.append((at, 0, PartEntered(part, parent, split, place)))
    for when, _, event in sorted(told, key=lambda one: one[:2]):
        now[0] = when
        paths(event)
    found = paths.of("v")
    assert found is not None
    assert list(found.steps.items()) == list(by_step(critical_path(scenes, log)).items())
    assert found.waited == 22.5 - 18.75
