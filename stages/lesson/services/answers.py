"""What a service answers: a picture or a sound; and such answers on disk."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.calls.api import UnexpectedReply
from stages.calls.kept_answers import KeptAnswers

MOST_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class MediaAnswer:
    """The bytes of a picture or a sound, and their MIME type; or the reason why there are none."""

    content: bytes
    mime: str
    tokens: int | None = None
    refusal: str | None = None
    fault: bool = field(default=False, compare=False)


class KeptMedia(KeptAnswers[MediaAnswer]):
    """Pictures and sounds that were paid for, by what was asked for and of whom."""

    def parse(self, kept: Mapping[str, Any]) -> MediaAnswer | None:
        content, mime = kept.get("content"), kept.get("mime")
        if not isinstance(content, str) or not isinstance(mime, str):
            return None
        return MediaAnswer(base64.b64decode(content, validate=True), mime)

    def entry(self, answer: MediaAnswer) -> dict[str, Any]:
        return {"mime": answer.mime, "content": base64.b64encode(answer.content).decode()}


def decoded(text: Any) -> bytes:
    """The bytes that base64 stands for. Raises UnexpectedReply."""
    if not isinstance(text, str):
        raise UnexpectedReply("no base64")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise UnexpectedReply("no base64") from None


def tokens_in(usage: Any, name: str) -> int | None:
    """A plausible number of tokens; None for anything else."""
    count = usage.get(name) if isinstance(usage, dict) else None
    known = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_TOKENS
    return count if known else None
