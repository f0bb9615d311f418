"""The transcribe stage: the words of one chunk of speech."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from anyio.to_thread import run_sync

from engine import Item, ItemRecord, Stage, UsageError, setting
from stages.calls.client import ApiClient
from stages.calls.connecting import open_api_client
from stages.calls.errors import WouldAsk
from stages.calls.keys import read_key
from stages.calls.settings import (
    CallLimits,
    ServerSettings,
    call_timeout_setting,
    concurrency_setting,
)
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
    # A chunk may have to wait for the few calls a minute of a free plan, or for a day's requests;
    # each call has a time limit of its own. A video is worth having without the speech of a chunk.
    defaults: ClassVar[dict[str, Any]] = {
        "workers": 4,
        "timeout": 86400.0,
        "patience": 172800.0,
        "optional": True,
    }
    item_failures = frozenset({"refused"})

    class Settings(CallLimits, ServerSettings):
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
        language: str | None = setting(
            None,
            "The language that is spoken, such as en; none: the model finds out.",
            per_item=True,
            example="en",
        )
        prompt: str | None = setting(
            None,
            "Names and words that are said, for their spelling.",
            per_item=True,
            example="Penstock, anyio",
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
        concurrency: int = concurrency_setting(4)
        call_timeout: float = call_timeout_setting(600.0)
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
        elif self.settings.backend != "off":
            self._backend = self._connect()

    def bound(self) -> str | None:
        return self._backend.bound() if self._backend is not None else None

    def drain(self) -> None:
        if self._backend is not None:
            self._backend.drain()

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()

    async def process(self, item: Item, out: Path) -> None:
        """Raises Permanent where the server refuses the chunk, Transient where it fails, Throttled
        where it wants a long pause or is away; and StopRun where no chunk can be transcribed: a
        refused key, an unknown model, no quota, `max_requests` reached. With `dry_run` it counts
        what would be sent (`Counted`), and has words only where the answers are kept."""
        assert self._backend is not None
        chunk = await run_sync(self._read, item)
        try:
            found = await hear_chunk(self._backend, chunk, again=self.settings.ask_again)
        except WouldAsk as would:
            told = NO_WORDS | {"counted": asdict(self._count(chunk, would.question))}
        else:
            told = _told(found, self._backend.made_by)
            if self._is_counting:
                told["counted"] = asdict(Counted(self._host, kept=1 + found.asked_again))
        text = json.dumps(told, ensure_ascii=False)
        await run_sync((out / "words.json").write_text, f"{text}\n", "utf-8")

    def _read(self, item: Item) -> SavedChunk:
        chunk, own = read_chunk(item.input("chunk")), self.settings_for(item)
        return replace(chunk, clip=replace(chunk.clip, language=own.language, prompt=own.prompt))

    def _load(self) -> LocalWhisper:
        settings = self.settings
        profile = self._profile
        assert profile.model is not None
        return LocalWhisper(
            profile.model,
            device=settings.device,
            compute_type=settings.compute_type,
            beam_size=settings.beam_size,
        )

    @property
    def _profile(self) -> Profile:
        return profile_of(self.settings.backend, self.settings.model, self.settings.granularity)

    @property
    def _is_counting(self) -> bool:
        """Whether there is a server, to which nothing is to be sent."""
        return self.settings.dry_run and self.settings.backend not in ("local", "off")

    @property
    def _host(self) -> str:
        return urlsplit(self._server()[0]).netloc

    def _count(self, chunk: SavedChunk, clip: SpeechClip) -> Counted:
        """The call about this clip: the chunk's own, or one about a hole in what is kept of it."""
        seconds = sum(one.end - one.start for one in chunk.pieces)
        if clip is not chunk.clip:
            seconds *= len(clip.content) / len(chunk.clip.content)
        return Counted(self._host, 1, int(clip is not chunk.clip), seconds, len(clip.content))

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
        }
        return KeptTranscripts(self.workdir / "cache" / "transcripts", identity)

    def _connect(self) -> AskedServer:
        settings, profile = self.settings, self._profile
        url, model = self._server()
        kept, made_by = self._kept(url, model), f"{settings.backend}:{model}"
        if settings.dry_run:
            return AskedServer(None, kept, made_by)
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
        )
        client: ApiClient[SpeechClip, Heard] = open_api_client(
            api,
            settings,
            server=url,
            model=model,
            key=key,
            key_name=key_name,
            step=self.name,
            requests_per_minute=settings.requests_per_minute or profile.requests_per_minute,
            day=settings.day_quota(
                self.workdir, server=url, model=model, key_name=key_name, day="24 hours"
            ),
            too_large="; smaller chunks may pass: stages.chunks.max_bytes",
        )
        return AskedServer(client, kept, made_by)


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
    if whole is not None and not whole.calls:
        kept = f"{whole.kept:,} answer{'s' * (whole.kept != 1)} kept already"
        yield f"dry run: transcribe would make no call to {whole.host}: {kept}"
    elif whole is not None:
        kept = f"; {whole.kept:,} more answered already" if whole.kept else ""
        yield (
            f"dry run: transcribe would make {whole.calls:,} call{'s' * (whole.calls != 1)} with "
            f"{whole.seconds / 60:,.1f} minutes of speech to {whole.host}, and one more for each "
            f"stretch whose words the answer lacks; {whole.bytes / 1e6:,.1f} MB of sound would "
            f"leave this machine{kept}"
        )
