"""A clip that a vision model watches: what is sent of it, and about what it costs."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FRAME_TOKENS = {"auto": 258, "low": 66, "high": 258}
"""Tokens of a frame of video, by how closely the model looks, as looked up on 2026-11-25."""

SOUND_TOKENS = 32
"""Tokens of a second of its sound."""


def watched_tokens(seconds: float, fps: float, detail: str) -> int:
    """About what watching so many seconds, with their sound, takes."""
    return round(seconds * (fps * FRAME_TOKENS[detail] + SOUND_TOKENS))


@dataclass(frozen=True, slots=True)
class VideoClip:
    """A file of video, of which the seconds `start` to `end` are meant, at `fps` frames each.

    It is sent as `content`, within the request. Where it is too large for that, it is a `file` that
    is uploaded before, and `uri` names it in the request. `digest` identifies its `size` bytes.
    """

    mime: str
    start: float
    end: float
    fps: float
    digest: str
    size: int
    content: bytes | None = None
    file: Path | None = None
    uri: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def gemini_part(self) -> dict[str, Any]:
        """As a part of a request to Gemini."""
        meant = {
            "start_offset": f"{self.start:.3f}s",
            "end_offset": f"{self.end:.3f}s",
            "fps": self.fps,
        }
        if self.content is None:
            named = {"mime_type": self.mime, "file_uri": self.uri}
            return {"file_data": named, "video_metadata": meant}
        data = base64.b64encode(self.content).decode()
        return {"inline_data": {"mime_type": self.mime, "data": data}, "video_metadata": meant}
