"""The paid servers of `penstock demo scenes`, on this machine: one that describes, and one that
hears.

The one that describes puts into sentences what it is told of a scene. The one that hears knows the
demo's recordings, and finds those that are in the sound that it is sent. So what they answer
follows from what they are asked, and is known.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

from stages.demo.server import BareStatus, Exchange, FirstThen, Route
from stages.demo.voice import SENTENCES, recording
from stages.sound.track import RATE
from stages.speech.audio_file import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/transcriptions"

SURE = 0.5
"""The correlation from which on a recording is in a sound: others come to 0.2 at most."""

DATA = re.compile(r"<data>(.*?)</data>", re.DOTALL)


def answer_routes() -> Mapping[str, Route]:
    """Both servers, by path. The first to ask for a description is told to slow down."""
    slow_down = BareStatus(429, retry_after=1)
    return {CHAT: FirstThen(slow_down, 1, describe), SPEECH: hear}


def describe(exchange: Exchange) -> None:
    """Answer a question of describe_scenes, or of summary, by OpenAI's protocol."""
    asked = json.loads(exchange.content)
    data = data_of(asked)
    say(exchange, scene_in_words(data) if isinstance(data, Mapping) else video_in_words(data))


def say(exchange: Exchange, told: Mapping[str, Any]) -> None:
    """Send what a chat model would, by OpenAI's protocol: an object as text."""
    message = {"role": "assistant", "content": json.dumps(told)}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    send(exchange, answer | {"usage": {"total_tokens": 400}})


def data_of(asked: Mapping[str, Any]) -> Any:
    """What stands between <data> and </data> in a question: of a scene or of a video."""
    first = next(message for message in asked["messages"] if message["role"] == "user")
    texts = [part["text"] for part in first["content"] if part["type"] == "text"]
    [block] = DATA.findall(texts[0])
    return json.loads(block)


def scene_in_words(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A description of the form that describe_scenes asks for."""
    told = [f"This scene shows {caption}." for caption in facts.get("captions", ())]
    told += [f"{label} can be heard." for label in facts.get("sounds", ())]
    if "words" in facts:
        told.append(f'Somebody says: "{facts["words"].strip()}"')
    seen = [line["class"] for line in facts.get("objects", ())]
    return {
        "description": " ".join(told) or "Nothing was found in this scene.",
        "tags": [*seen, *(label.lower() for label in facts.get("sounds", ()))],
        "people": [],
        "actions": ["drifting"],
        "setting": "a plain background",
        "text_seen": [],
    }


def video_in_words(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A summary of the form that summary asks for: a chapter for every two scenes."""
    chapters = [
        {"first": one["scene"], "title": f"From scene {one['scene']}", "summary": "Two scenes."}
        for one in entries[::2]
    ]
    return {
        "title": f"{len(entries)} scenes",
        "summary": f"A film of the demo, in {len(entries)} scenes.",
        "tags": ["demo"],
        "chapters": chapters,
    }


def hear(exchange: Exchange) -> None:
    """Answer a question of transcribe, as verbose JSON with the times of words."""
    samples = decode(audio_of(exchange.headers["Content-Type"], exchange.content))
    segments = [*spoken_in(samples)]
    words = [word for one in segments for word in one.pop("words")]
    send(
        exchange,
        {
            "task": "transcribe",
            "language": "english",
            "duration": len(samples) / RATE,
            "text": " ".join(one["text"] for one in segments),
            "segments": segments,
            "words": words,
        },
    )


def audio_of(content_type: str, content: bytes) -> bytes:
    """The file in a form."""
    form = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + content)
    for part in form.get_payload():
        if part.get_param("name", header="content-disposition") == "file":  # type: ignore[union-attr]
            found = part.get_payload(decode=True)  # type: ignore[union-attr]
            assert isinstance(found, bytes)
            return found
    raise ValueError("the form has no file")


def spoken_in(samples: "NDArray[np.int16]") -> Iterator[dict[str, Any]]:
    """The sentences whose recordings are in the samples, in order, with their words. A word's
    share of the time is that of its letters."""
    found = {name: place_of(recording(name), samples) for name in SENTENCES}
    places = sorted((place, name) for name, place in found.items() if place is not None)
    for number, (place, name) in enumerate(places):
        start, length = place / RATE, len(recording(name)) / RATE
        words = SENTENCES[name].split()
        each = length / sum(map(len, words))
        ends = [start + each * sum(map(len, words[: at + 1])) for at in range(len(words))]
        yield {
            "id": number,
            "start": start,
            "end": start + length,
            "text": SENTENCES[name],
            "words": [
                {"word": word.strip(".,"), "start": end - each * len(word), "end": end}
                for word, end in zip(words, ends, strict=True)
            ],
        }


def place_of(wanted: "NDArray[np.int16]", samples: "NDArray[np.int16]") -> int | None:
    """The sample at which the recording begins; None where it is not there.

    By normalised cross-correlation, which a lossy encoding hardly changes.
    """
    import numpy as np

    if len(samples) < len(wanted):
        return None
    size = len(samples) + len(wanted)
    pattern, heard = wanted.astype(np.float64), samples.astype(np.float64)
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(pattern, size))
    matches = np.fft.irfft(product, size)[: len(samples) - len(wanted) + 1]
    power = np.concatenate([[0.0], np.cumsum(heard**2)])
    power = power[len(wanted) :] - power[: -len(wanted)]
    scale = np.sqrt(np.maximum(power, 1.0) * float(pattern @ pattern))
    likeness = matches / scale
    best = int(np.argmax(likeness))
    return best if likeness[best] >= SURE else None


def send(exchange: Exchange, answer: Mapping[str, Any]) -> None:
    exchange.send(200, "application/json", json.dumps(answer).encode())
