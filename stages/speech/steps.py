"""The steps that make a transcript of a track, for every pipeline that wants one."""

from typing import Any, cast

from pydantic import BaseModel

from engine import Step
from stages.fetch.download import Download
from stages.sound.audio import Audio
from stages.speech.chunks import Chunks, fitted
from stages.speech.profiles import profile_of
from stages.speech.transcribe import Transcribe
from stages.speech.transcript import Transcript


def speech_steps(audio: str, video: str) -> list[Step]:
    """Steps after the step `audio`, which writes audio.wav of what the step `video` has fetched.
    The last one is `transcript`."""
    return [
        Step(Chunks, after=audio, inputs={"audio": audio, "video": video}),
        Step(Transcribe, after="chunks", each="chunks"),
        Step(
            Transcript,
            after="transcribe",
            inputs={"chunks": "chunks", "words": "transcribe"},
        ),
    ]


def resolve_speech(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Chunks as long as suits whoever transcribes them, and none where nobody does; and a track in
    which speech is listened for while it is decoded, where each is."""
    chunks = cast(Chunks.Settings, settings["chunks"])
    transcribe = cast(Transcribe.Settings, settings["transcribe"])
    if chunks.prefer == "subtitles":
        chunks = chunks.model_copy(update={"language": chunks.language or transcribe.language})
    if transcribe.backend == "off":
        chunks = chunks.model_copy(update={"enabled": False})
    else:
        profile = profile_of(transcribe.backend, transcribe.model, transcribe.granularity)
        chunks = fitted(chunks, profile)
    if chunks.enabled is False and transcribe.backend != "off":
        transcribe = transcribe.model_copy(update={"backend": "off"})
    audio = cast(Audio.Settings, settings[Audio.name])
    if audio.listen is None:
        is_needed = chunks.enabled is not False and chunks.vad == "silero"
        audio = audio.model_copy(update={"listen": is_needed and chunks.prefer == "speech"})
    return settings | {"audio": audio, "chunks": chunks, "transcribe": transcribe}


def resolve_subtitles(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have subtitles fetched with the videos where they are preferred, and only there."""
    chunks = cast(Chunks.Settings, settings[Chunks.name])
    download = cast(Download.Settings, settings[Download.name])
    if chunks.prefer != "subtitles":
        return settings
    asked: dict[str, Any] = {"writesubtitles": True, "writeautomaticsub": True}
    if chunks.language is not None:
        asked["subtitleslangs"] = [chunks.language]
    download = download.model_copy(update={"options": asked | download.options})
    return settings | {Download.name: download}
