"""What services that draw and speak answer, by both protocols, for a server on this machine."""

import base64
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.lesson.voices.sentences import sentences_of
from tests.stages.vision_server import Answer, Request, VisionServer, serving

RATE = 24_000
PER_CHARACTER = 0.02
"""Seconds that a character takes to say, and a pause after a sentence takes ten times that."""

Fault = Callable[[int, Request], Answer | None]


class MediaService:
    """Draws a picture of one colour for each prompt, and says each sentence as a tone.

    `fault` gets each request's number, from 0, and the request, and returns what to say instead.
    """

    def __init__(self, fault: Fault = lambda number, request: None) -> None:
        self.fault = fault
        self.lock = threading.Lock()
        self.paid: Counter[str] = Counter()
        """Answers that were sent, by the text that they are about."""
        self.made: dict[str, str] = {}
        """The texts, by the SHA-256 of what was made of them."""
        self.server: VisionServer

    def answer(self, number: int, request: Request) -> Answer:
        told = self.fault(number, request)
        if told is not None:
            return told
        content = content_for(request)
        with self.lock:
            self.paid[text_of(request)] += 1
            self.made[hashlib.sha256(content).hexdigest()] = text_of(request)
        return answer_with(request, content)

    def asked(self, what: str) -> list[str]:
        """The texts of the requests so far whose address has this in it."""
        return [text_of(one) for one in self.server.requests if what in one.path]

    def kept(self, work: Path) -> set[str]:
        """The texts whose answers are on the disk, in this work folder."""
        found = set()
        for file in work.glob("cache/*/??/*.json"):
            content = base64.b64decode(json.loads(file.read_text())["content"])
            found.add(self.made[hashlib.sha256(content).hexdigest()])
        return found

    def settings(self, protocol: str = "openai") -> list[str]:
        base = f"{self.server.origin}/{'v1' if protocol == 'openai' else 'v1beta'}"
        return [
            *(f"stages.{step}.backend={protocol}" for step in ("image", "voice")),
            *(f"stages.{step}.base_url={base}" for step in ("image", "voice")),
            # Gemini's two are told apart by the model in the address.
            "stages.image.model=images",
            "stages.voice.model=speech",
        ]


@contextmanager
def media_service(
    fault: Fault = lambda number, request: None, latency: float = 0.0
) -> Iterator[MediaService]:
    service = MediaService(fault)
    with serving(fault=service.answer, latency=latency) as server:
        service.server = server
        yield service


def text_of(request: Request) -> str:
    body = request.body
    if "contents" in body:
        return str(body["contents"][0]["parts"][0]["text"])
    return str(body.get("prompt") or body.get("input"))


def content_for(request: Request) -> bytes:
    """The picture or the sound that is asked for."""
    text = text_of(request)
    if "images" not in request.path:
        samples = said(text)
        return samples.tobytes() if "contents" in request.body else wav(samples)
    if "contents" in request.body:
        return picture(text, (1344, 768))
    width, height = map(int, request.body["size"].split("x"))
    return picture(text, (width, height))


def answer_with(request: Request, content: bytes) -> Answer:
    """It, by the protocol of the request."""
    draws = "images" in request.path
    if "contents" in request.body:
        mime = "image/png" if draws else f"audio/L16;codec=pcm;rate={RATE}"
        return gemini_answer(mime, content)
    if draws:
        return as_json({"data": [{"b64_json": encoded(content)}]})
    return Answer(200, content, {"Content-Type": "audio/wav"})


def gemini_answer(mime: str, content: bytes, ending: str = "STOP") -> Answer:
    parts = [{"inlineData": {"mimeType": mime, "data": encoded(content)}}] if content else []
    candidate = {"content": {"parts": parts}, "finishReason": ending}
    return as_json({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 9}})


def as_json(body: Any) -> Answer:
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def picture(text: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour_of(text)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def colour_of(text: str) -> tuple[int, int, int]:
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue


def said(text: str) -> "np.ndarray[Any, np.dtype[np.int16]]":
    """A tone for each sentence, and a pause after it: another one for each text."""
    pitch = 300 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:3]) / 2**16
    pieces = []
    for sentence in sentences_of(text):
        at = np.arange(round(len(sentence) * PER_CHARACTER * RATE)) / RATE
        pieces.append((9000 * np.sin(2 * np.pi * pitch * at)).astype(np.int16))
        pieces.append(np.zeros(round(10 * PER_CHARACTER * RATE), np.int16))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def wav(samples: "np.ndarray[Any, np.dtype[np.int16]]") -> bytes:
    """As services send it while they still speak: its length is not known."""
    content = samples.tobytes()
    head = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    rates = RATE.to_bytes(4, "little") + (2 * RATE).to_bytes(4, "little")
    return head + rates + b"\x02\x00\x10\x00data\xff\xff\xff\xff" + content


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
