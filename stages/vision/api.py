"""Questions to a vision model: what is asked and answered, and two protocols for it.

`OpenAI` speaks chat completions, which OpenAI, Azure, Gemini's compatible endpoint, vLLM and Ollama
serve; `Gemini` speaks Google's own generateContent. They build requests and read answers; `client`
and `rate` send, retry and pace them.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from engine import writable
from stages.calls.api import PaidAPI, Request, UnexpectedReply
from stages.calls.keys import is_azure, openai_address
from stages.vision.forms import gemini_schema
from stages.vision.text import description_in
from stages.vision.video_clip import VideoClip

Detail = Literal["auto", "low", "high"]

DEFAULT_URLS = {
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
DEFAULT_MODELS = {"openai": "gpt-4.1-mini", "gemini": "gemini-flash-lite-latest"}
LOOKED_UP = "2026-11-25"
"""The date when these names were looked up. OpenAI then planned to shut
gpt-4.1-mini down on 2027-01-14."""

DEFAULT_KEYS = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is the same in every call: the prompt, and the form of the answer."""

    model: str
    prompt: str
    max_tokens: int
    temperature: float | None
    detail: Detail


@dataclass(frozen=True, slots=True)
class FormQuestion(Question):
    """One whose answers are JSON by `schema`. Its prompt stands apart from what is asked about, as
    the system's instruction."""

    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SchemaQuestion(FormQuestion):
    """One whose schema is anybody's. `strict`: it is as strict servers want it, every field
    required and none besides."""

    strict: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What one call asks about: JPEG images, in order, or a `clip`, and `data`, text from anybody.
    `before` is an answer that the model gave to the same, and what is wrong with it."""

    images: tuple[bytes, ...] = ()
    data: str = ""
    before: tuple[str, str] | None = None
    clip: VideoClip | None = None

    @property
    def content(self) -> bytes:
        """What identifies it."""
        if len(self.images) == 1 and not self.data and self.before is None and self.clip is None:
            return self.images[0]
        digests = [hashlib.sha256(image).hexdigest() for image in self.images]
        told: list[Any] = [digests, self.data, self.before]
        if self.clip is not None:
            clip = self.clip
            told.append([clip.digest, clip.start, clip.end, clip.fps])
        return json.dumps(told).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """A paid answer: `text`, one line, or the reason why there is none. `tokens`: its cost."""

    text: str | None
    refusal: str | None
    tokens: int | None
    fault: bool = field(default=False, compare=False)
    """Whether a fault is the reason for the missing text: the same question
    may be answered next time."""


VisionAPI = PaidAPI[Subject, Reply]
"""A backend that is asked about images."""


class OpenAI:
    """Chat completions with the image as a data: URL.

    Azure is recognised by its host or by `auth` "api-key": the key goes into the api-key header,
    and the deployment (named like the model) and the api-version are added to a URL that lacks
    them.
    """

    def __init__(
        self,
        question: Question,
        base_url: str,
        auth: Literal["auto", "bearer", "api-key"] = "auto",
        api_version: str | None = None,
    ) -> None:
        azure = is_azure(base_url)
        self.question = question
        self.api_key_header = auth == "api-key" or (auth == "auto" and azure)
        self.url = openai_address(
            base_url, "/chat/completions", question.model, azure=azure, version=api_version
        )
        self._unsupported: set[str] = set()

    def headers(self, key: str) -> dict[str, str]:
        return {"api-key": key} if self.api_key_header else {"Authorization": f"Bearer {key}"}

    def body(self, subject: Subject) -> dict[str, Any]:
        """The request, as JSON."""
        body: dict[str, Any] = {"model": self.question.model, "messages": self._messages(subject)}
        if isinstance(self.question, FormQuestion) and "response_format" not in self._unsupported:
            strict = not isinstance(self.question, SchemaQuestion) or self.question.strict
            form = {"name": "answer", "strict": strict, "schema": self.question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if "max_tokens" in self._unsupported:
            body["max_completion_tokens"] = self.question.max_tokens
        else:
            body["max_tokens"] = self.question.max_tokens
        if self.question.temperature is not None and "temperature" not in self._unsupported:
            body["temperature"] = self.question.temperature
        return body

    def _messages(self, subject: Subject) -> list[dict[str, Any]]:
        question = self.question
        apart = isinstance(question, FormQuestion)
        texts = [subject.data] if apart else [question.prompt, subject.data]
        content: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts if text]
        content += [{"type": "image_url", "image_url": self._image(i)} for i in subject.images]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if apart:
            messages.insert(0, {"role": "system", "content": question.prompt})
        if subject.before is not None:
            answer, objection = subject.before
            messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": objection})
        return messages

    def _image(self, jpeg: bytes) -> dict[str, Any]:
        image = {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}
        if self.question.detail != "auto":
            image["detail"] = self.question.detail
        return image

    def reply(self, payload: Any) -> Reply:
        try:
            choice = payload["choices"][0]
            message = choice["message"]
            said = " ".join(_said(message.get("content") or ""))
            refusal = message.get("refusal")
            ending = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UnexpectedReply("not a chat completion") from error
        tokens = _count(payload.get("usage"), "total_tokens")
        return _reply(said, ending, self.question, tokens, refusal)

    def request(self, subject: Subject) -> Request:
        return _as_json(self.body(subject))

    def plain(self) -> Subject:
        return Subject((plain_picture(),))

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        # Newer models want max_completion_tokens and no temperature, and say so with a 400;
        # servers that copy this API often know only max_tokens, so max_tokens is tried first.
        # Not every model takes a schema; the prompt says in words what it asks for.
        name = (parameter or "").partition(".")[0]
        known = ("max_tokens", "temperature", "response_format")
        if name not in known or name not in sent.parameters:
            return False
        self._unsupported.add(name)
        return True


class Gemini:
    """Google's models/MODEL:generateContent with images, or a clip, inline, or a clip
    that was uploaded."""

    def __init__(self, question: Question, base_url: str) -> None:
        self.question = question
        model = question.model.removeprefix("models/")
        self.url = f"{base_url.rstrip('/')}/models/{quote(model, safe='')}:generateContent"

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def body(self, subject: Subject) -> dict[str, Any]:
        """The request, as JSON."""
        question = self.question
        config: dict[str, Any] = {"maxOutputTokens": question.max_tokens}
        if question.temperature is not None:
            config["temperature"] = question.temperature
        if question.detail != "auto":
            config["mediaResolution"] = f"MEDIA_RESOLUTION_{question.detail.upper()}"
        parts: list[dict[str, Any]] = [{"inline_data": _inline(image)} for image in subject.images]
        if subject.clip is not None:
            parts.append(subject.clip.gemini_part())
        texts = [subject.data]
        body: dict[str, Any] = {}
        if isinstance(question, FormQuestion):
            config["responseMimeType"] = "application/json"
            if isinstance(question, SchemaQuestion):
                config["responseJsonSchema"] = question.schema
            else:
                config["responseSchema"] = gemini_schema(question.schema)
            body["systemInstruction"] = {"parts": [{"text": question.prompt}]}
        else:
            texts.insert(0, question.prompt)
        parts += [{"text": text} for text in texts if text]
        contents = [{"role": "user", "parts": parts}]
        if subject.before is not None:
            answer, objection = subject.before
            contents.append({"role": "model", "parts": [{"text": answer}]})
            contents.append({"role": "user", "parts": [{"text": objection}]})
        return body | {"contents": contents, "generationConfig": config}

    def reply(self, payload: Any) -> Reply:
        try:
            tokens = _count(payload.get("usageMetadata"), "totalTokenCount")
            if blocked := (payload.get("promptFeedback") or {}).get("blockReason"):
                return _reply("", "stop", self.question, tokens, _refused(blocked))
            candidate = payload["candidates"][0]
            said = " ".join(_said((candidate.get("content") or {}).get("parts") or []))
            ending = candidate.get("finishReason")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UnexpectedReply("not a generateContent answer") from error
        return _reply(said, ending, self.question, tokens)

    def request(self, subject: Subject) -> Request:
        return _as_json(self.body(subject))

    def plain(self) -> Subject:
        return Subject((plain_picture(),))

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        return False


def _inline(jpeg: bytes) -> dict[str, str]:
    return {"mime_type": "image/jpeg", "data": base64.b64encode(jpeg).decode()}


def _as_json(body: dict[str, Any]) -> Request:
    return Request(json.dumps(body).encode(), "application/json", frozenset(body))


def plain_picture() -> bytes:
    """A small JPEG of a size that every model accepts."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (224, 224), (128, 128, 128)).save(file, "JPEG")
    return file.getvalue()


_CUT_SHORT = {"length", "max_tokens"}
_REFUSING = {
    *("content_filter", "safety", "recitation", "language", "blocklist", "prohibited_content"),
    *("spii", "image_safety", "refusal", "guardrail_intervened"),
}
_ANSWERED_NOTHING = "the model answered nothing"


def _said(content: Any) -> Iterator[str]:
    """The text of an answer: a string, or parts; parts that hold reasoning do not count."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield part
        elif not part.get("thought") and part.get("type") in (None, "text", "output_text"):
            text = part.get("text")
            yield text if isinstance(text, str) else ""


def _count(usage: Any, name: str) -> int | None:
    """A plausible number of tokens of a call; None for anything else."""
    count = usage.get(name) if isinstance(usage, dict) else None
    known = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= 10_000_000
    return count if known else None


def _refused(why: object) -> str:
    return f"the model refused the image ({str(why).lower()})"


def _reply(
    said: str, ending: Any, question: Question, tokens: int | None, refusal: Any = None
) -> Reply:
    """The model's text as a reply, or the reason for its absence, from the protocol's finish reason
    `ending`."""
    reason = str(ending or "stop").lower()
    text = description_in(said, cut_short=reason in _CUT_SHORT)
    if text and reason != "error":
        return Reply(text, None, tokens)
    if refusal:
        return Reply(None, " ".join(writable(str(refusal)).split()), tokens)
    if reason in _CUT_SHORT:
        why = f"the model used its {question.max_tokens} tokens before it wrote a word"
        return Reply(None, f"{why}; raise max_tokens", tokens)
    if reason in _REFUSING:
        return Reply(None, _refused(reason), tokens)
    why = _ANSWERED_NOTHING
    if reason != "stop":
        why += f" ({reason})"
    elif said.strip():
        why += " but its reasoning"
    return Reply(None, why, tokens, fault=True)


def as_kept(reply: Reply) -> Reply | None:
    """A reply from disk, as it would be read today; None where it holds no valid answer.

    Earlier versions kept reasoning in descriptions, and empty answers as refusals.
    """
    if reply.text is None:
        why = reply.refusal or _ANSWERED_NOTHING
        blank = why in (_ANSWERED_NOTHING, _refused("error"), _refused("other"))
        return None if blank else reply
    text = description_in(reply.text)
    return Reply(text, None, reply.tokens) if text else None
