"""A Whisper on this machine, by faster-whisper."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import anyio
from anyio.to_thread import run_sync

from engine import UsageError
from stages.models.content import content_hash
from stages.models.hub import reach_hub
from stages.sound.track import RATE
from stages.sound.voice import INSTALL
from stages.speech.audio_file import decode
from stages.speech.heard import Heard, SpeechClip, heard

REVISIONS = {
    "tiny": "d90ca5fe260221311c53c58e660288d3deb8d356",
    "base": "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    "small": "536b0662742c02347bc0e980a01041f333bce120",
    "medium": "08e178d48790749d25932bbc082711ddcfdfbc4f",
    "large-v3": "edaa852ec7e145841d8ffdb056a99866b5f0a478",
}
"""The revisions of Systran's models by the names that faster-whisper has for them."""


_MISSING = (
    f'stages.transcribe.backend = "local" takes faster-whisper: {INSTALL}; or name another backend '
    f'there, or "off" to do without speech'
)


def model_folder(name: str) -> Path | None:
    """The folder of a model that is named by its place; None where `name` is one of the hub."""
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - never raises
    if folder.is_dir():
        return folder
    if os.sep in name and (name.startswith((".", "~", os.sep)) or name.count("/") > 1):
        raise UsageError(f"{name} is no folder: set stages.transcribe.model to one with a model")
    return None


def model_identity(name: str) -> str:
    """What a model is, wherever it lies. Raises UsageError where there is none of that name."""
    folder = model_folder(name)
    return content_hash(folder) if folder is not None else "@".join(_of_hub(name))


class LocalWhisper:
    """One model, for one clip at a time. `device` is "auto", "cpu" or "cuda".

    Raises UsageError where faster-whisper or the model is missing.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str,
        compute_type: str,
        beam_size: int,
    ) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise UsageError(_MISSING) from None
        self.made_by = f"faster-whisper:{Path(name).name}"
        try:
            self._model = WhisperModel(_located(name), device=device, compute_type=compute_type)
        except (RuntimeError, ValueError, OSError) as error:
            told = " ".join(str(error).split())
            raise UsageError(f"stages.transcribe.model: {name} cannot be loaded: {told}") from None
        self._beam_size = beam_size
        self._turn = anyio.Lock()

    async def hear(self, clip: SpeechClip) -> Heard:
        stopped = Event()
        async with self._turn:
            try:
                return await run_sync(partial(self._hear, clip, stopped), abandon_on_cancel=True)
            finally:
                stopped.set()

    def bound(self) -> str | None:
        return None

    def drain(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _hear(self, clip: SpeechClip, stopped: Event) -> Heard:
        samples = decode(clip.content).astype("float32") / 32768
        if len(samples) < RATE // 10:
            return Heard("")
        segments, info = self._model.transcribe(
            samples,
            word_timestamps=True,
            condition_on_previous_text=False,
            beam_size=self._beam_size,
            language=clip.language,
            initial_prompt=clip.prompt,
        )
        found = [_told(one) for one in _until(segments, stopped)]
        answer = heard({"segments": found, "text": "", "language": info.language})
        assert answer is not None
        return answer


def _until(segments: Any, stopped: Event) -> Iterator[Any]:
    for one in segments:
        if stopped.is_set():
            return
        yield one


def _told(segment: Any) -> dict[str, Any]:
    words = [asdict(word) for word in segment.words or ()]
    names = ("start", "end", "text", "avg_logprob", "no_speech_prob", "compression_ratio")
    return {name: getattr(segment, name) for name in names} | {"words": words}


def _of_hub(name: str) -> tuple[str, str]:
    """The name and the revision of a model of the hub, given as NAME or NAME@REVISION. Raises
    UsageError where faster-whisper knows no such name."""
    try:
        from faster_whisper.utils import available_models
    except ImportError:
        raise UsageError(_MISSING) from None
    known, _, revision = name.partition("@")
    if "/" not in known and known not in available_models():
        names = ", ".join(available_models())
        raise UsageError(f"stages.transcribe.model: {name} is no folder and none of {names}")
    return known, revision or REVISIONS.get(known, "")


def locate_whisper(name: str) -> Path | None:
    """The folder of the model, if it is on this machine already. Raises UsageError where there is
    no model of that name."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = model_folder(name)
    if folder is not None:
        return folder
    with suppress(LocalEntryNotFoundError):
        return Path(_of_hub_by(name)(local_files_only=True))
    return None


def _of_hub_by(name: str) -> Callable[..., str]:
    """What gives the folder of a model of the hub."""
    known, revision = _of_hub(name)
    from faster_whisper.utils import download_model

    return partial(download_model, known, revision=revision or None)


def _located(name: str) -> str:
    """The folder of the model, fetched if it is not here."""
    found = locate_whisper(name)
    if found is not None:
        return str(found)
    known, fetch = name.partition("@")[0], _of_hub_by(name)
    logging.getLogger("penstock.transcribe").warning("fetching the speech model %s, once", known)
    try:
        reach_hub()
        return fetch()
    except Exception as error:  # the hub's client lets through whatever a network may do
        told = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the speech model {name} is not here, and could not be fetched ({told}): put its "
            f"folder somewhere and set stages.transcribe.model to that, name another backend in "
            f'stages.transcribe.backend, or set that to "off" to do without speech'
        ) from None
