"""What services that draw and speak answer, by both protocols, for a server on this machine."""

import base64
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self.server: VisionServer

    def answer(self, number: int, request: Request) -> Answer:
        told = self.fault(number, request)
        if told is not None:
            return told
        with self.lock:
            self.paid[text_of(request)] += 1
        return made_for(request)

    def asked(self, what: str) -> list[str]:
        """The texts of the requests so far whose address has this in it."""
        return [text_of(one) for one in self.server.requests if what in one.path]

    def settings(self, protocol: str = "openai") -> list[str]:
        base = f"{self.server.origin}/{'v1' if protocol == 'openai' else 'v1beta'}"
        return [
            *(f"stages.{step}.backend={protocol}" for step in ("image", "voice")),
            *(f"stages.{step}.base_url={base}" for step in ("image", "voice")),
            # Draws under a name by which the two services of Gemini are told apart, too.
            "stages.image.model=images",
            "stages.voice.model=speech",
        ]


@contextmanager
def media_service(fault: Fault = lambda number, request: None) -> Iterator[MediaService]:
    service = MediaService(fault)
    with serving(fault=service.answer) as server:
        service.server = server
        yield service


def text_of(request: Request) -> str:
    body = request.body
    if "contents" in body:
        return str(body["contents"][0]["parts"][0]["text"])
    return str(body.get("prompt") or body.get("input"))


def made_for(request: Request) -> Answer:
    """A picture or a sound, by the protocol of the request."""
    text = text_of(request)
    draws = "images" in request.path
    if "contents" not in request.body:
        if not draws:
            return Answer(200, wav(said(text)), {"Content-Type": "audio/wav"})
        width, height = map(int, request.body["size"].split("x"))
        body: Any = {"data": [{"b64_json": encoded(picture(text, (width, height)))}]}
        return as_json(body)
    content = picture(text, (1344, 768)) if draws else said(text).tobytes()
    mime = "image/png" if draws else f"audio/L16;codec=pcm;rate={RATE}"
    return gemini_answer(mime, content)


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
    """A tone for each sentence, and a pause after it."""
    pieces = []
    for sentence in sentences_of(text):
        at = np.arange(round(len(sentence) * PER_CHARACTER * RATE)) / RATE
        pieces.append((9000 * np.sin(2 * np.pi * 330 * at)).astype(np.int16))
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
