"""The demo's own paid servers: what they hear in a sound, and what they say of a scene."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from stages.demo.answering import CHAT, answer_routes, spoken_in
from stages.demo.server import MediaServer
from stages.demo.voice import SENTENCES, recording, seconds_of
from stages.sound.track import RATE
from stages.speech.audio_file import AudioFormat, decode, encode


def silence(seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.zeros(round(seconds * RATE), np.int16)


@pytest.mark.parametrize("form", ["flac", "ogg"])
def test_it_hears_the_recordings_that_are_in_a_sound(form: AudioFormat) -> None:
    sound = np.concatenate(
        [silence(0.5), recording("trees"), silence(0.3), recording("museum"), silence(0.2)]
    )
    found = [*spoken_in(decode(encode(sound, form)))]
    assert [one["text"] for one in found] == [SENTENCES["trees"], SENTENCES["museum"]]
    assert found[0]["start"] == pytest.approx(0.5, abs=0.02)
    assert found[1]["start"] == pytest.approx(0.8 + seconds_of("trees"), abs=0.02)
    words = found[1]["words"]
    assert [one["word"] for one in words][:3] == ["We", "are", "going"]
    assert words[-1]["end"] == pytest.approx(found[1]["end"])


def test_it_hears_nothing_in_what_is_no_recording() -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, 4 * RATE).astype(np.int16)
    assert [*spoken_in(noise)] == []
    assert [*spoken_in(silence(4))] == []
    assert [*spoken_in(silence(0.1))] == []


def test_it_says_what_it_is_told_and_first_to_slow_down(tmp_path: Path) -> None:
    data = {"start": 0, "captions": ["a red circle"], "sounds": ["Tone"], "words": "Good day."}
    text = f"<data>{json.dumps(data)}</data>"
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    with MediaServer(answer_routes()) as server, httpx.Client(trust_env=False) as client:
        slow_down, answer = (client.post(server.url(CHAT), json=asked) for _ in range(2))
    assert (slow_down.status_code, slow_down.headers["retry-after"]) == (429, "1")
    told = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert told["description"] == (
        'This scene shows a red circle. Tone can be heard. Somebody says: "Good day."'
    )
    assert told["tags"] == ["tone"]
