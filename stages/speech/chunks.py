"""The chunks stage: a video's speech in pieces, each of which is sent in one call.

For each chunk it makes a part: the sound as `speech.flac` or `speech.ogg`, and `chunk.json`. Of the
whole track it writes `chunks.json`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

import engine
from engine import Item, Parts, Skip, Stage, setting, shown
from stages.files.folders import INFO
from stages.media.cores import MOST_FOR_ONE, PROCESS_CORES, Cores
from stages.media.packets.beginning import beginning
from stages.media.subtitle_files import UnreadableSubtitlesError, read_subtitle_file
from stages.media.subtitles import Subtitles, read_subtitles
from stages.models.inference import in_order
from stages.sound.track import RATE, read_samples
from stages.sound.voice import heard_before
from stages.speech.audio_file import BYTES_PER_SECOND, AudioFormat
from stages.speech.chunk_files import clip_of, write_chunk
from stages.speech.chunk_plan import Chunk, ChunkLimits, plan_chunks
from stages.speech.profiles import PROFILES, Profile
from stages.speech.spans import SampleSpan, total
from stages.speech.vad import SpeechDetector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("penstock.chunks")

SUBTITLES = "subtitles.json"

OVERLAP = 4.0
"""Seconds that two chunks share, where speech goes on for as long as a chunk may be."""


class Chunks(Stage):
    """Cut the speech of a track into chunks.

    Of `audio` it reads audio.wav, and the probabilities of speech that are kept beside it; and of
    `video`, where subtitles are preferred, info.json and the files that it names: where they have
    any, they go into subtitles.json, and there are no chunks.
    Raises Skip where speech is switched off, or there is no sound.
    """

    inputs = "audio"
    optional_inputs = "video"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    cores: ClassVar[Cores] = PROCESS_CORES
    """Counts threads that compress, and idle cores."""

    class Settings(engine.Settings):
        enabled: bool | None = setting(
            None,
            'Whether speech is looked for; none: unless stages.transcribe.backend is "off".',
            example=True,
        )
        prefer: Literal["speech", "subtitles"] = setting(
            "speech",
            'What is taken where a video has both: what is heard, or its "subtitles".',
        )
        language: str | None = setting(
            None,
            "The language of the subtitles to take, such as en; none: that of transcribe, if it is "
            "set, else the first ones.",
            example="en",
        )
        vad: Literal["silero", "off"] = setting(
            "silero",
            'What finds speech, so that nothing else is sent; "off" sends the whole track.',
        )
        vad_threshold: float = setting(
            0.35, "How sure it has to be; a lower one loses less, and sends more.", gt=0, lt=1
        )
        chunk_seconds: float | None = setting(
            None,
            "Seconds of speech that are sent in one call; none: what suits the backend.",
            gt=0,
            example=900.0,
        )
        max_seconds: float | None = setting(
            None,
            "Seconds that one call may have; none: what the backend takes.",
            gt=0,
            example=1400.0,
        )
        max_bytes: int | None = setting(
            None,
            "Bytes that one call may have; none: what the backend takes.",
            gt=0,
            example=25_000_000,
        )
        format: AudioFormat | None = setting(
            None,
            'How the sound is compressed: "flac", which loses nothing, or "ogg", which is a third '
            "of it; none: what suits the backend.",
            example="ogg",
        )
        overlap: bool | None = setting(
            None,
            "Whether chunks share some seconds where speech never pauses; none: where the backend "
            "gives times, by which they are joined.",
            example=True,
        )

        @model_validator(mode="after")
        def _in_order(self) -> "Chunks.Settings":
            if self.chunk_seconds and self.max_seconds and self.chunk_seconds > self.max_seconds:
                raise ValueError("chunk_seconds is more than max_seconds")
            return self

    settings: "Chunks.Settings"
    _detector: SpeechDetector | None = None

    def open(self) -> None:
        """Raises UsageError where the network that finds speech is missing."""
        if self.settings.enabled is not False and self.settings.vad == "silero":
            self._detector = SpeechDetector(self.settings.vad_threshold)

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with self.cores.held():
            self._split(item, out, parts)

    def _split(self, item: Item, out: Path, parts: Parts) -> None:
        if self.settings.prefer == "subtitles" and self._write_subtitles(item, out):
            return
        if self.settings.enabled is False:
            raise Skip("speech is switched off", kind="off")
        if not item.has_input("audio"):
            raise Skip("there is no sound", kind="no_audio")
        audio = item.input("audio")
        samples = read_samples(audio / "audio.wav")
        speech = [SampleSpan(0, len(samples))] if len(samples) else []
        if self._detector is not None:
            speech = self._detector.find(samples, heard_before(audio))
        chunks = plan_chunks(speech, len(samples), self._limits())
        parts.expect(len(chunks))
        self._make(chunks, samples, parts)
        summary = {
            "seconds": len(samples) / RATE,
            "speech": total(speech) / RATE,
            "sent": sum(chunk.length for chunk in chunks) / RATE,
            "chunks": len(chunks),
            "vad": self.settings.vad,
        }
        (out / "chunks.json").write_text(json.dumps(summary, indent=2) + "\n")

    def _make(self, chunks: Sequence[Chunk], samples: "NDArray[np.int16]", parts: Parts) -> None:
        """Hand over those that do not stand yet. Others are compressed beside each one, whether
        cores idle or not: the last chunk's words are what the whole video waits for."""
        form, is_detected = self.settings.format or "flac", self._detector is not None
        standing = 0
        while standing < len(chunks) and parts.reuse():
            standing += 1
        missing = chunks[standing:]
        threads = max(1, min(self.cores.total, MOST_FOR_ONE, len(missing)))
        with ExitStack() as stack:
            for _ in range(threads - 1):
                stack.enter_context(self.cores.held())
            pool = stack.enter_context(ThreadPoolExecutor(threads, "penstock-compress"))
            compress = partial(pool.submit, partial(clip_of, samples=samples, form=form))
            made = stack.enter_context(closing(in_order(compress, missing, threads)))
            for chunk, clip in made:
                if not parts.reuse():
                    with parts.make() as folder:
                        write_chunk(folder, chunk, clip, is_detected=is_detected)

    def _write_subtitles(self, item: Item, out: Path) -> bool:
        """Whether the video has subtitles: people's in a file beside it, in the video itself, or a
        machine's."""
        if not item.has_input("video"):
            return False
        folder = item.input("video")
        info = json.loads((folder / INFO).read_text())
        path = folder / info["file"]
        told: dict[str, Any] = info.get("subtitles") or {}
        found = None
        if told and not told["automatic"]:
            found = _read_beside(item, folder / told["file"], told)
        found = found or read_subtitles(path, beginning(path), self.settings.language)
        if (found is None or not found.cues) and told.get("automatic"):
            found = _read_beside(item, folder / told["file"], told)
        if found is None or not found.cues:
            return False
        entry = json.dumps(asdict(found), ensure_ascii=False)
        (out / SUBTITLES).write_text(f"{entry}\n", "utf-8")
        return True

    def _limits(self) -> ChunkLimits:
        settings = fitted(self.settings, PROFILES["local"])
        assert settings.chunk_seconds and settings.max_seconds and settings.format
        seconds = settings.max_seconds
        if settings.max_bytes is not None:
            seconds = min(seconds, settings.max_bytes / BYTES_PER_SECOND[settings.format])
        most = int(seconds * RATE)
        usual = min(most, int(settings.chunk_seconds * RATE))
        overlap = min(int(OVERLAP * RATE), most // 4) if settings.overlap else 0
        return ChunkLimits(usual, most, overlap)


def _read_beside(item: Item, path: Path, told: Mapping[str, Any]) -> Subtitles | None:
    """Subtitles beside a video; None, with a line in the log, where they cannot be used."""
    try:
        found = read_subtitle_file(path, told["language"])
    except (UnreadableSubtitlesError, OSError) as error:
        logger.warning(
            "the subtitles (%s) of %s cannot be used: %s; what is heard is taken instead",
            told["language"] or path.suffix[1:],
            shown(item.source),
            error,
        )
        return None
    return replace(found, codec=f"{found.codec}, automatic") if told["automatic"] else found


def fitted(settings: Chunks.Settings, profile: Profile) -> Chunks.Settings:
    """The settings with what they leave open as the backend has it."""
    most = settings.max_seconds or max(profile.max_seconds, settings.chunk_seconds or 0.0)
    return settings.model_copy(
        update={
            "max_seconds": most,
            "chunk_seconds": settings.chunk_seconds or min(profile.chunk_seconds, most),
            "max_bytes": settings.max_bytes or profile.max_bytes,
            "format": settings.format or profile.form,
            "overlap": profile.granularity != "none"
            if settings.overlap is None
            else settings.overlap,
        }
    )
