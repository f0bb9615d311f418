"""Google's generateContent, where it is to answer with a picture or a sound."""

import json
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote

from engine import writable
from stages.calls.api import Request, UnexpectedReply
from stages.lesson.services.answers import MediaAnswer, decoded, tokens_in

REFUSING = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
}
"""The reasons to end that will be the same next time."""


def gemini_address(base_url: str, model: str) -> str:
    name = quote(model.removeprefix("models/"), safe="")
    return f"{base_url.rstrip('/')}/models/{name}:generateContent"


def gemini_request(text: str, config: dict[str, Any]) -> Request:
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}
    return Request(json.dumps(body).encode(), "application/json", frozenset(body))


def gemini_media(payload: Any, kind: Literal["image", "audio"]) -> MediaAnswer:
    """The first picture, or all the sound, of an answer. Raises UnexpectedReply."""
    try:
        tokens = tokens_in(payload.get("usageMetadata"), "totalTokenCount")
        if blocked := (payload.get("promptFeedback") or {}).get("blockReason"):
            return _nothing(f"the model refused it ({str(blocked).lower()})", tokens)
        candidate = payload["candidates"][0]
        parts = (candidate.get("content") or {}).get("parts") or []
        ending = str(candidate.get("finishReason") or "STOP").upper()
        found = list(_inline(parts, kind))
        said = " ".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnexpectedReply("not a generateContent answer") from error
    if ending in REFUSING:
        return _nothing(f"the model refused it ({ending.lower()})", tokens)
    if ending == "STOP" and found:
        mime = found[0][0]
        pieces = found if kind == "audio" else found[:1]
        return MediaAnswer(b"".join(content for _, content in pieces), mime, tokens)
    # It is told apart by no more than this, and often comes right when it is asked again.
    why = f"the model answered no whole {kind} ({ending.lower()})"
    said = " ".join(writable(said).split())
    return _nothing(f"{why}: {said[:200]}" if said else why, tokens, fault=True)


def _inline(parts: list[dict[str, Any]], kind: str) -> Iterator[tuple[str, bytes]]:
    """The MIME type and the bytes of what is of this kind, but for what belongs to reasoning."""
    for part in parts:
        data = part.get("inlineData") or part.get("inline_data")
        if not data or part.get("thought"):
            continue
        mime = str(data.get("mimeType") or data.get("mime_type") or "")
        if mime.lower().startswith(f"{kind}/"):
            yield mime, decoded(data.get("data"))


def _nothing(why: str, tokens: int | None, *, fault: bool = False) -> MediaAnswer:
    return MediaAnswer(b"", "", tokens, refusal=why, fault=fault)
