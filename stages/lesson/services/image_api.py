"""Pictures by OpenAI's protocol, which others serve too, and by Gemini's."""

import json
import math
from typing import Any

from stages.calls.api import Request, UnexpectedReply
from stages.calls.keys import is_azure, openai_address
from stages.lesson.services.answers import MediaAnswer, decoded, tokens_in
from stages.lesson.services.gemini import gemini_address, gemini_media, gemini_request

Size = tuple[int, int]
"""Width and height in pixels."""

STEP = 16
LEAST_PIXELS, LONGEST = 655_360, 3840
"""What models that draw in any size take: sides that are multiples of STEP."""

FIXED: tuple[Size, ...] = ((1024, 1024), (1536, 1024), (1024, 1536))
"""What those draw in that know three sizes only."""

RATIOS = ((1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9))
"""Gemini's."""

ALWAYS_BASE64 = ("gpt-image", "chatgpt-image")
"""Models that give base64 always, and refuse to be asked for it."""


def size_to_ask(wanted: Size) -> Size:
    """The size in which a picture of the wanted one is asked for: no smaller, where that may be."""
    width, height = wanted
    factor = max(1.0, math.sqrt(LEAST_PIXELS / (width * height)))
    factor = min(factor, LONGEST / max(width, height))
    return _in_steps(width * factor), _in_steps(height * factor)


def _in_steps(pixels: float) -> int:
    return max(STEP, math.ceil(round(pixels / STEP, 3)) * STEP)


def nearest_ratio(wanted: Size) -> tuple[int, int]:
    return min(RATIOS, key=lambda ratio: _differ(ratio, wanted))


def _differ(one: Size, other: Size) -> float:
    return abs(math.log(one[0] * other[1] / (one[1] * other[0])))


class OpenAIImages:
    """POST …/images/generations, for one picture as base64."""

    def __init__(
        self,
        base_url: str,
        model: str,
        size: Size,
        quality: str | None = None,
        api_version: str | None = None,
    ) -> None:
        self._azure = is_azure(base_url)
        self.url = openai_address(
            base_url, "/images/generations", model, azure=self._azure, version=api_version
        )
        self._model, self._wanted = model, size
        self._options = {"size": _shown(size_to_ask(size))}
        if quality is not None:
            self._options["quality"] = quality
        if not model.startswith(ALWAYS_BASE64):
            self._options["response_format"] = "b64_json"

    def headers(self, key: str) -> dict[str, str]:
        return {"api-key": key} if self._azure else {"Authorization": f"Bearer {key}"}

    def request(self, prompt: str) -> Request:
        body = {"model": self._model, "prompt": prompt, "n": 1, **self._options}
        return Request(json.dumps(body).encode(), "application/json", frozenset(body))

    def plain(self) -> str:
        return "A grey square."

    def reply(self, payload: Any) -> MediaAnswer:
        try:
            drawn = payload["data"][0]
            base64, address = drawn.get("b64_json"), drawn.get("url")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UnexpectedReply("not an answer with a picture") from error
        tokens = tokens_in(payload.get("usage"), "total_tokens")
        if not base64 and address:
            why = "the server gave a picture's address, which is not fetched; use one with base64"
            return MediaAnswer(b"", "", tokens, refusal=why)
        return MediaAnswer(decoded(base64), "image/*", tokens)

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        name = parameter or ""
        if name not in sent.parameters:
            return False
        if name == "size":
            # Models differ in the sizes that they know: then the nearest of three that all do.
            fixed = _shown(min(FIXED, key=lambda one: _differ(one, self._wanted)))
            self._options["size"] = fixed
            return bool(json.loads(sent.content)["size"] != fixed)
        if name in ("quality", "response_format"):
            self._options.pop(name, None)
            return True
        return False


class GeminiImages:
    """POST …:generateContent, for a picture in the answer."""

    def __init__(self, base_url: str, model: str, size: Size) -> None:
        self.url = gemini_address(base_url, model)
        shape: dict[str, Any] = {"aspectRatio": _shown(nearest_ratio(size), ":")}
        if max(size) > 1408:  # what 1K, the usual size, is at most
            shape["imageSize"] = "2K" if max(size) <= 2816 else "4K"
        self._config = {"responseModalities": ["IMAGE"], "imageConfig": shape}

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def request(self, prompt: str) -> Request:
        return gemini_request(prompt, self._config)

    def plain(self) -> str:
        return "A grey square."

    def reply(self, payload: Any) -> MediaAnswer:
        return gemini_media(payload, "image")

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        return False


def _shown(pair: tuple[int, int], between: str = "x") -> str:
    return f"{pair[0]}{between}{pair[1]}"
