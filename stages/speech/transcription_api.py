"""The transcription of a clip by OpenAI's protocol, which Azure, Groq, vLLM and others serve."""

import hashlib
from collections.abc import Mapping
from typing import Any

from stages.calls.api import Request, UnexpectedReply
from stages.calls.keys import openai_address
from stages.sound.track import RATE
from stages.speech.audio_file import encode
from stages.speech.heard import Heard, SpeechClip, heard
from stages.speech.profiles import Granularity


class TranscriptionAPI:
    """POST …/audio/transcriptions.

    With granularity "none" plain JSON is asked for, which every server and model gives.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        granularity: Granularity,
        *,
        azure: bool = False,
        api_version: str | None = None,
    ) -> None:
        self.url = openai_address(
            base_url, "/audio/transcriptions", model, azure=azure, version=api_version
        )
        self._azure = azure
        self._fields = {"model": model, "response_format": "json"}
        if granularity != "none":
            self._fields["response_format"] = "verbose_json"
        self._granularities = ["segment"] if granularity == "segment" else ["word", "segment"]

    def headers(self, key: str) -> dict[str, str]:
        return {"api-key": key} if self._azure else {"Authorization": f"Bearer {key}"}

    def request(self, clip: SpeechClip) -> Request:
        fields = [*self._fields.items()]
        told = {"language": clip.language, "prompt": clip.prompt}
        fields += [(name, value) for name, value in told.items() if value is not None]
        if self._fields["response_format"] == "verbose_json":
            fields += [("timestamp_granularities[]", one) for one in self._granularities]
        boundary = hashlib.sha256(clip.content).hexdigest()
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="speech.{clip.form}"\r\nContent-Type: audio/{clip.form}\r\n\r\n'
        )
        content = "".join(parts).encode() + clip.content + f"\r\n--{boundary}--\r\n".encode()
        names = frozenset(name.removesuffix("[]") for name, _ in fields)
        return Request(content, f"multipart/form-data; boundary={boundary}", names)

    def plain(self) -> SpeechClip:
        import numpy as np

        return SpeechClip(encode(np.zeros(RATE, np.int16), "flac"), "flac")

    def reply(self, payload: Any) -> Heard:
        found = heard(payload) if isinstance(payload, Mapping) else None
        if found is None:
            raise UnexpectedReply("not a transcription")
        return found

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        # Servers that copy this API may lack times; what chunks are sent to those is short enough.
        name = (parameter or "").removesuffix("[]")
        if name not in ("response_format", "timestamp_granularities"):
            return False
        self._fields["response_format"] = "json"
        return name in sent.parameters and "timestamp_granularities" in sent.parameters
