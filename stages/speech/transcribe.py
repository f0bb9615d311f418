"""The transcribe stage: the words of one chunk of speech."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from pydantic import ConfigDict, field_validator

import engine
from engine import Item, ItemRecord, Stage, UsageError, setting
from stages.calls.client import ApiClient
from stages.calls.gates import Limits, share_gate
from stages.calls.keys import checked_address, checked_key_name, read_key
from stages.models.devices import gpu_needs
from stages.speech.asked_server import AskedServer, KeptTranscripts
from stages.speech.chunk_files import SavedChunk, read_chunk
from stages.speech.heard import Backend, Heard, SpeechClip
from stages.speech.hearing import HeardChunk, entry_of, hear_chunk
from stages.speech.local_whisper import LocalWhisper, model_identity
from stages.speech.profiles import LOOKED_UP, Granularity, Profile, profile_of
from stages.speech.transcription_api import TranscriptionAPI

NO_WORDS: dict[str, Any] = {
    "language": None,
    "segments": [],
    "gaps": [],
    "asked_again": 0,
    "made_by": None,
}

MISSED = "speech without words, also when it was asked about again"


@dataclass(frozen=True, slots=True)
class Counted:
    """What a dry run counts: calls, those whose answer is kept already, and the seconds and bytes
    of sound that would leave this machine to `host`."""

    host: str
    calls: int = 0
    kept: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            other.host,
            self.calls + other.calls,
            self.kept + other.kept,
            self.seconds + other.seconds,
            self.bytes + other.bytes,
        )


class Transcribe(Stage):
    """Have the words of a chunk written down.

    Of `chunk` it reads what the chunks stage wrote. It writes words.json: {"language", "segments",
    "gaps", "asked_again", "made_by"}, times in seconds of the video.

    One instance serves the whole pool, and shares one model or one client of a server. Under
    WORKDIR/cache it keeps every answer that was paid for.
    """

    inputs = "chunk"
    # A chunk may have to wait for the few calls a minute of a free plan; each call has a time limit
    # of its own. A video is worth having without the speech of a chunk.
    defaults: ClassVar[dict[str, Any]] = {"workers": 4, "timeout": 86400.0, "optional": True}
    item_failures = frozenset({"refused"})

    class Settings(engine.Settings):
        # A key pasted into the wrong setting is not repeated in the error.
        model_config = ConfigDict(hide_input_in_errors=True)

        backend: Literal["local", "openai", "azure", "groq", "vllm", "url", "off"] = setting(
            "local",
            'Who writes down what is said: "local" (faster-whisper on this machine), "openai", '
            '"azure", "groq", "vllm", "url" (any server with OpenAI\'s protocol), or "off".',
        )
        model: str | None = setting(
            None,
            "The model's name, or its folder where it is local; none: small, whisper-1, whisper or "
            f"whisper-large-v3-turbo, as looked up on {LOOKED_UP}.",
            in_ingredients=True,
            example="whisper-1",
        )
        base_url: str | None = setting(
            None,
            "Where the server is, such as http://localhost:8000/v1; none: the public one.",
            needs_trust=True,
            example="http://localhost:8000/v1",
        )
        api_key_env: str | None = setting(
            None,
            "The variable that holds the key, named *_API_KEY; none: OPENAI_, AZURE_OPENAI_, "
            "GROQ_, VLLM_ or SPEECH_API_KEY.",
            affects_output=False,
            needs_trust=True,
            example="OPENAI_API_KEY",
        )
        api_version: str | None = setting(
            None,
            "The api-version that Azure's URLs carry; none: one that fits.",
            affects_output=False,
            example="2024-10-21",
        )
        language: str | None = setting(
            None,
            "The language that is spoken, such as en; none: the model finds out.",
            example="en",
        )
        prompt: str | None = setting(
            None, "Names and words that are said, for their spelling.", example="Penstock, anyio"
        )
        granularity: Granularity | None = setting(
            None,
            'What the server gives times of: "word", "segment" or "none"; none: as the backend is '
            "known to.",
            example="segment",
        )
        ask_again: bool = setting(
            True, "Whether speech of over 2 s without words is asked about once more, alone."
        )
        concurrency: int = setting(
            4, "Calls in flight at once, over all workers.", affects_output=False, gt=0
        )
        requests_per_minute: float | None = setting(
            None,
            "Requests a minute, at most, evenly spread; none: what the backend allows a new "
            "account, if that is known.",
            affects_output=False,
            gt=0,
            example=60.0,
        )
        call_timeout: float = setting(
            600.0, "Seconds that one call may take.", affects_output=False, gt=0
        )
        call_attempts: int = setting(
            4,
            "Tries at one call when the server fails or cannot be reached.",
            affects_output=False,
            gt=0,
        )
        rate_patience: float = setting(
            600.0,
            "Seconds a call waits while the server asks to slow down, before its chunk is put off.",
            affects_output=False,
            ge=0,
        )
        max_requests: int = setting(
            0, "Requests of one run, at most; 0: no limit.", affects_output=False, ge=0
        )
        dry_run: bool = setting(False, "Send nothing; count what a run would send.")
        device: Literal["auto", "cpu", "cuda"] = setting(
            "auto", "Where a local model runs.", affects_output=False
        )
        compute_type: str = setting(
            "auto",
            'The numbers of a local model, as CTranslate2 calls them, such as "int8"; "auto": the '
            "fastest of this device.",
        )
        beam_size: int = setting(5, "Wordings that a local model weighs up at once.", ge=1, le=20)

        @field_validator("api_key_env")
        @classmethod
        def _a_name(cls, value: str | None) -> str | None:
            return checked_key_name(value)

        @field_validator("base_url")
        @classmethod
        def _an_address(cls, value: str | None) -> str | None:
            return checked_address(value)

    settings: "Transcribe.Settings"
    _backend: Backend | None = None

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The model: its content where it is a folder, its revision where it is fetched. Raises
        UsageError where there is none of that name."""
        if self.settings.backend == "off":
            return {}
        model = self._profile.model
        if self.settings.backend == "local" and model is not None:
            return {"model": model_identity(model)}
        return {"model": model}

    def needs(self) -> Mapping[str, int]:
        """The GPU that a local model is on."""
        return gpu_needs(self.settings.device) if self.settings.backend == "local" else {}

    async def open(self) -> None:
        """Raises UsageError where the model, the address or the key is missing."""
        if self.settings.backend == "local":
            self._backend = await run_sync(self._load)
        elif self.settings.backend != "off" and not self.settings.dry_run:
            self._backend = self._connect()

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()

    async def process(self, item: Item, out: Path) -> None:
        """Raises Permanent where the server refuses the chunk, Transient where it fails, Throttled
        where it wants a long pause or is away; and StopRun where no chunk can be transcribed: a
        refused key, an unknown model, no quota, `max_requests` reached. With `dry_run` it counts
        what would be sent, in place of words: see `Counted`."""
        chunk = await run_sync(read_chunk, item.input("chunk"))
        if self._backend is None:
            told = json.dumps(NO_WORDS | {"counted": asdict(await run_sync(self._count, chunk))})
        else:
            found = await hear_chunk(self._backend, chunk, again=self.settings.ask_again)
            told = json.dumps(_told(found, self._backend.made_by), ensure_ascii=False)
        await run_sync((out / "words.json").write_text, f"{told}\n", "utf-8")

    def _load(self) -> LocalWhisper:
        settings = self.settings
        profile = self._profile
        assert profile.model is not None
        return LocalWhisper(
            profile.model,
            device=settings.device,
            compute_type=settings.compute_type,
            beam_size=settings.beam_size,
            language=settings.language,
            prompt=settings.prompt,
        )

    @property
    def _profile(self) -> Profile:
        return profile_of(self.settings.backend, self.settings.model, self.settings.granularity)

    def _count(self, chunk: SavedChunk) -> Counted:
        url, model = self._server()
        kept = self._kept(url, model)
        if kept.has(kept.key(chunk.clip.content)):
            return Counted(urlsplit(url).netloc, kept=1)
        seconds = sum(one.end - one.start for one in chunk.pieces)
        return Counted(urlsplit(url).netloc, 1, 0, seconds, len(chunk.clip.content))

    def _server(self) -> tuple[str, str]:
        """The server's address, and the model. Raises UsageError where one is not set."""
        url, model = self.settings.base_url or self._profile.base_url, self._profile.model
        if url is None or model is None:
            raise UsageError(
                f"stages.transcribe.backend is {self.settings.backend}: "
                f"set stages.transcribe.{'model' if url else 'base_url'}"
            )
        return url, model

    def _kept(self, url: str, model: str) -> KeptTranscripts:
        identity = {
            "url": url,
            "model": model,
            "granularity": self._profile.granularity,
            "language": self.settings.language,
            "prompt": self.settings.prompt,
        }
        return KeptTranscripts(self.workdir / "cache" / "transcripts", identity)

    def _connect(self) -> AskedServer:
        settings, profile = self.settings, self._profile
        url, model = self._server()
        key_name = settings.api_key_env or profile.key_env
        key = read_key(key_name)
        if key is None and url.startswith("https:"):
            raise UsageError(
                f"{settings.backend} needs a key: put it into the environment variable {key_name}, "
                f'or set stages.transcribe.backend to "local" or "off", which need none'
            )
        api = TranscriptionAPI(
            url,
            model,
            profile.granularity,
            azure=settings.backend == "azure",
            api_version=settings.api_version,
            language=settings.language,
            prompt=settings.prompt,
        )
        rate = settings.requests_per_minute or profile.requests_per_minute
        limits = Limits(settings.concurrency, rate, None, settings.call_timeout)
        loan = share_gate(limits, server=url, key=key, model=model)
        try:
            client: ApiClient[SpeechClip, Heard] = ApiClient(
                api,
                loan.thing,
                key=key,
                key_name=key_name,
                timeout=settings.call_timeout,
                attempts=settings.call_attempts,
                patience=settings.rate_patience,
                max_requests=settings.max_requests,
                step="stages.transcribe",
                too_large="; smaller chunks may pass: stages.chunks.max_bytes",
                loan=loan,
            )
        except BaseException:
            loan.give_back()
            raise
        return AskedServer(client, self._kept(url, model), f"{settings.backend}:{model}")


def _told(found: HeardChunk, made_by: str) -> dict[str, Any]:
    return {
        "language": found.language,
        "segments": [entry_of(one) for one in found.segments],
        "gaps": [
            {"start": round(one.start, 3), "end": round(one.end, 3), "why": MISSED}
            for one in found.missed
        ],
        "asked_again": found.asked_again,
        "made_by": made_by,
    }


def counted(item: Item) -> Counted | None:
    """What a dry run counted of an item; None where there was none."""
    whole: Counted | None = None
    for part in item.parts_with(Transcribe.name):
        told = json.loads((part.output(Transcribe.name) / "words.json").read_text("utf-8"))
        if "counted" in told:
            one = Counted(**told["counted"])
            whole = one if whole is None else whole + one
    return whole


def speech_costs(item: Item) -> Mapping[str, float]:
    """{"speech calls", "minutes of speech sent"} of an item, as a dry run counted them."""
    found = counted(item)
    if found is None:
        return {}
    return {"speech calls": found.calls, "minutes of speech sent": round(found.seconds / 60, 2)}


def speech_counted(records: Iterable[ItemRecord]) -> Iterator[str]:
    """A line on what a dry run would have sent."""
    whole: Counted | None = None
    for record in records:
        one = counted(Item(record.id, record.source, record.folder))
        if one is not None:
            whole = one if whole is None else whole + one
    if whole is not None:
        kept = f"; {whole.kept:,} more are answered already" if whole.kept else ""
        yield (
            f"dry run: transcribe would make {whole.calls:,} calls with {whole.seconds / 60:,.1f} "
            f"minutes of speech to {whole.host}; {whole.bytes / 1e6:,.1f} MB of sound would leave "
            f"this machine{kept}"
        )
