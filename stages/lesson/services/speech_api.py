"""Speech by OpenAI's protocol, which others serve too, and by Gemini's."""

import json
from typing import Any

from stages.calls.api import RawReply, Request, UnexpectedReply
from stages.calls.keys import is_azure, openai_address
from stages.lesson.services.answers import MediaAnswer
from stages.lesson.services.gemini import gemini_address, gemini_media, gemini_request


class OpenAISpeech:
    """POST …/audio/speech, for WAV, or else for bare samples, or else for what the server has."""

    def __init__(
        self,
        base_url: str,
        model: str,
        voice: str,
        instructions: str | None = None,
        speed: float | None = None,
        api_version: str | None = None,
    ) -> None:
        self._azure = is_azure(base_url)
        self.url = openai_address(
            base_url, "/audio/speech", model, azure=self._azure, version=api_version
        )
        self._fields: dict[str, Any] = {"model": model, "voice": voice}
        if instructions is not None:
            self._fields["instructions"] = instructions
        if speed is not None:
            self._fields["speed"] = speed
        self._forms = ["wav", "pcm"]

    def headers(self, key: str) -> dict[str, str]:
        return {"api-key": key} if self._azure else {"Authorization": f"Bearer {key}"}

    def request(self, text: str) -> Request:
        body = {**self._fields, "input": text}
        if self._forms:
            body["response_format"] = self._forms[0]
        names = frozenset(body)
        return Request(json.dumps(body).encode(), "application/json", names, answer="bytes")

    def plain(self) -> str:
        return "Hello."

    def reply(self, payload: Any) -> MediaAnswer:
        if not isinstance(payload, RawReply):
            raise UnexpectedReply("JSON in place of sound")
        if not payload.content:
            raise UnexpectedReply("no sound")
        return MediaAnswer(payload.content, payload.content_type)

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        if parameter != "response_format" or parameter not in sent.parameters:
            return False
        refused = json.loads(sent.content)[parameter]
        self._forms = [form for form in self._forms if form != refused]
        return True


class GeminiSpeech:
    """POST …:generateContent, for sound in the answer: bare samples, whose rate the type tells."""

    def __init__(
        self, base_url: str, model: str, voice: str, instructions: str | None = None
    ) -> None:
        self.url = gemini_address(base_url, model)
        named = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
        self._config = {"responseModalities": ["AUDIO"], "speechConfig": named}
        self._instructions = instructions

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def request(self, text: str) -> Request:
        said = text if self._instructions is None else f"{self._instructions}: {text}"
        return gemini_request(said, self._config)

    def plain(self) -> str:
        return "Hello."

    def reply(self, payload: Any) -> MediaAnswer:
        return gemini_media(payload, "audio")

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        return False
