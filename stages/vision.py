"""Asking a vision model about one image: a small interface, and the two protocols that speak it.

`OpenAI` speaks chat completions, which OpenAI, Azure, Gemini's compatible endpoint, vLLM and Ollama
serve; `Gemini` speaks Google's own generateContent. They build requests and read answers; sending,
retrying and pacing are `vision_client` and `vision_rate`.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

Detail = Literal["auto", "low", "high"]

DEFAULT_URLS = {
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
DEFAULT_MODELS = {"openai": "gpt-4.1-mini", "gemini": "gemini-flash-lite-latest"}
DEFAULT_KEYS = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}

_AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_AZURE_VERSION = "2024-10-21"


@dataclass(frozen=True, slots=True)
class Question:
    """What every image is asked, and how the model may answer."""

    model: str
    prompt: str
    max_tokens: int
    temperature: float | None
    detail: Detail


@dataclass(frozen=True, slots=True)
class Reply:
    """A paid answer: `text`, one line, or the reason why there is none. `tokens`: what it cost."""

    text: str | None
    refusal: str | None
    tokens: int | None


class UnexpectedReply(ValueError):
    """A success that does not hold what the protocol says it holds."""


class VisionAPI(Protocol):
    """What a backend is: where requests go, what they hold, and what the answers mean."""

    url: str
    """Where requests are posted. It never holds the key."""

    def headers(self, key: str) -> dict[str, str]:
        """What shows the server the key."""

    def body(self, jpeg: bytes) -> dict[str, Any]:
        """The request for one image, as JSON."""

    def reply(self, payload: Any) -> Reply:
        """What the server's JSON says. Raises UnexpectedReply where it is something else."""

    def adapt(self, sent: Mapping[str, Any], parameter: str | None) -> bool:
        """Whether leaving a parameter out of what was `sent` may help; `body` then does."""


class OpenAI:
    """Chat completions with the image as a data: URL.

    Azure is recognised by its host or by `auth` "api-key": the key goes into the api-key header,
    and the URL gets the deployment (named like the model) and the api-version where it lacks them.
    """

    def __init__(
        self,
        question: Question,
        base_url: str,
        auth: Literal["auto", "bearer", "api-key"] = "auto",
        api_version: str | None = None,
    ) -> None:
        host = urlsplit(base_url).hostname or ""
        azure = host.endswith(_AZURE_HOSTS)
        self.question = question
        self.api_key_header = auth == "api-key" or (auth == "auto" and azure)
        self.url = _completions_url(base_url, question.model, azure, api_version)
        self._unsupported: set[str] = set()

    def headers(self, key: str) -> dict[str, str]:
        return {"api-key": key} if self.api_key_header else {"Authorization": f"Bearer {key}"}

    def body(self, jpeg: bytes) -> dict[str, Any]:
        image = {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}
        if self.question.detail != "auto":
            image["detail"] = self.question.detail
        body: dict[str, Any] = {
            "model": self.question.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": self.question.prompt},
                        {"type": "image_url", "image_url": image},
                    ],
                }
            ],
        }
        if "max_tokens" in self._unsupported:
            body["max_completion_tokens"] = self.question.max_tokens
        else:
            body["max_tokens"] = self.question.max_tokens
        if self.question.temperature is not None and "temperature" not in self._unsupported:
            body["temperature"] = self.question.temperature
        return body

    def reply(self, payload: Any) -> Reply:
        try:
            choice = payload["choices"][0]
            message = choice["message"]
            content = message.get("content") or ""
            if isinstance(content, list):
                content = " ".join(part.get("text", "") for part in content)
            usage = payload.get("usage") or {}
            tokens = usage.get("total_tokens")
            text = _one_line(content)
            why = message.get("refusal") or _ending(choice.get("finish_reason"), self.question)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UnexpectedReply("not a chat completion") from error
        return _reply(text, why, tokens)

    def adapt(self, sent: Mapping[str, Any], parameter: str | None) -> bool:
        # Newer models want max_completion_tokens and no temperature, and say so with a 400;
        # servers that copy this API often know only max_tokens, so that is what is tried first.
        if parameter not in ("max_tokens", "temperature") or parameter not in sent:
            return False
        self._unsupported.add(parameter)
        return True


class Gemini:
    """Google's models/MODEL:generateContent with the image inline."""

    def __init__(self, question: Question, base_url: str) -> None:
        self.question = question
        model = question.model.removeprefix("models/")
        self.url = f"{base_url.rstrip('/')}/models/{quote(model, safe='')}:generateContent"

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def body(self, jpeg: bytes) -> dict[str, Any]:
        image = {"mime_type": "image/jpeg", "data": base64.b64encode(jpeg).decode()}
        config: dict[str, Any] = {"maxOutputTokens": self.question.max_tokens}
        if self.question.temperature is not None:
            config["temperature"] = self.question.temperature
        if self.question.detail != "auto":
            config["mediaResolution"] = f"MEDIA_RESOLUTION_{self.question.detail.upper()}"
        parts = [{"inline_data": image}, {"text": self.question.prompt}]
        return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}

    def reply(self, payload: Any) -> Reply:
        try:
            tokens = (payload.get("usageMetadata") or {}).get("totalTokenCount")
            if blocked := (payload.get("promptFeedback") or {}).get("blockReason"):
                return _reply("", f"the model refused the image ({blocked.lower()})", tokens)
            candidate = payload["candidates"][0]
            parts = (candidate.get("content") or {}).get("parts") or []
            text = _one_line(
                " ".join(part.get("text", "") for part in parts if not part.get("thought"))
            )
            why = _ending(candidate.get("finishReason"), self.question)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UnexpectedReply("not a generateContent answer") from error
        return _reply(text, why, tokens)

    def adapt(self, sent: Mapping[str, Any], parameter: str | None) -> bool:
        return False


def _completions_url(base_url: str, model: str, azure: bool, version: str | None) -> str:
    url = base_url.rstrip("/").removesuffix("/chat/completions")
    if azure and not urlsplit(url).path.rstrip("/").endswith("/v1"):
        if "/deployments/" not in url:
            url = f"{url.removesuffix('/openai')}/openai/deployments/{quote(model, safe='')}"
        version = version or _AZURE_VERSION
    url += "/chat/completions"
    return f"{url}?api-version={quote(version)}" if version else url


def _one_line(text: str) -> str:
    # An answer cut short may end in half of a surrogate pair, which no file can hold.
    text = text.encode("utf-8", "replace").decode()
    # Models that reason aloud put their reasoning before the answer when a server leaves it in.
    return " ".join(re.sub("<think>.*?(?:</think>|$)", "", text, flags=re.DOTALL).split())


def _ending(reason: str | None, question: Question) -> str:
    """Why an answer without text ended, from the protocol's finish reason."""
    if reason in ("length", "MAX_TOKENS"):
        return (
            f"the model used its {question.max_tokens} tokens before it wrote a word; "
            f"raise max_tokens"
        )
    if reason in (None, "stop", "STOP"):
        return "the model answered nothing"
    return f"the model refused the image ({str(reason).lower()})"


def _reply(text: str, why: str, tokens: Any) -> Reply:
    count = tokens if isinstance(tokens, int) else None
    if text:
        return Reply(text=text, refusal=None, tokens=count)
    return Reply(text=None, refusal=_one_line(why), tokens=count)
