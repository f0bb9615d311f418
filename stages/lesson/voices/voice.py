"""The voice stage: what a section says, spoken, and when each sentence is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import av
from anyio.to_thread import run_sync

from engine import Item, Permanent, Skip, StandIn, Transient, setting
from stages.lesson.scripts.sections import SavedSection, read_section
from stages.lesson.services.asking import MediaAsker
from stages.lesson.services.counts import write_counts
from stages.lesson.services.profiles import LOOKED_UP, SPEAKING
from stages.lesson.services.service_stage import ServiceStage
from stages.lesson.services.settings import ServiceSettings, model_of, open_asker, url_of
from stages.lesson.services.speech_api import GeminiSpeech, OpenAISpeech
from stages.lesson.voices.espeak import espeak_version, espeak_voice, speak, spoken_as
from stages.lesson.voices.pcm import RATE, evened, joined, resampled, write_wav
from stages.lesson.voices.sentences import sentences_of
from stages.lesson.voices.served import NarrationPiece, have_spoken, in_pieces
from stages.lesson.voices.spoken import Spoken, fault_of
from stages.lesson.voices.timing import Said, timed
from stages.media.media_file import NoMediaError, open_media

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

VOICE, FACTS = "voice.wav", "voice.json"


class Voice(ServiceStage):
    """Have the text of a section spoken.

    Of `section` it reads section.json and the recording that it names. It writes voice.wav (48 kHz,
    mono) and voice.json: {"seconds", "said": [{"start", "end", "text"}], "made_by", "asked": calls
    of a service, "characters": of the texts sent to it}. Raises Skip where a section has no text,
    and Permanent, of kind "refused", where a service speaks no such thing; what comes out silent,
    or far too short, fails and is tried again. Where no service has spoken it yet it raises
    StandIn: in a preview with the voice of espeak-ng, and voice.json says "stands_in"; in a dry run
    with requests.jsonl alone.
    """

    inputs = "section"
    item_failures = frozenset({"damaged", "no_voice", "silent", "refused"})

    class Settings(ServiceSettings):
        backend: Literal["espeak", "openai", "gemini"] = setting(
            "espeak",
            'Who speaks: "espeak" (espeak-ng on this machine), "openai" (any server with OpenAI\'s '
            'protocol: see base_url) or "gemini".',
        )
        model: str | None = setting(
            None,
            "The model that speaks; none: "
            + " or ".join(one.model for one in SPEAKING.values())
            + f", as looked up on {LOOKED_UP}.",
            in_ingredients=True,
            example="gpt-4o-mini-tts",
        )
        voice: str | None = setting(
            None,
            "The voice's name; none: that of the script's language, or of a service "
            + " or ".join(one.voice for one in SPEAKING.values())
            + ".",
            in_ingredients=True,
            example="en-gb",
        )
        words_per_minute: int = setting(160, "How fast espeak-ng speaks.", ge=80, le=400)
        pause: float = setting(
            0.25,
            "Seconds between sentences of espeak-ng, and between a service's answers.",
            ge=0,
            le=5,
        )
        instructions: str | None = setting(
            None,
            "How a service is to speak, for models that take that.",
            example="Speak calmly, as to a class of children.",
        )
        speed: float | None = setting(
            None, "How fast an OpenAI-compatible service speaks; 1 is usual.", ge=0.25, le=4
        )
        characters: int | None = setting(
            None,
            "Characters of one request to a service, at most; longer texts are cut between "
            "sentences; none: what it takes.",
            ge=200,
            example=4096,
        )

    settings: "Voice.Settings"

    def find_ingredients(self, earlier: Any) -> dict[str, Any]:
        """Who speaks: the version of espeak-ng, or the service's model; and the voice. Where
        espeak-ng is missing it is as it was before: what it has spoken still holds."""
        settings = self.settings
        if settings.backend == "espeak":
            was = (earlier or {}).get("speaker")
            return {"speaker": espeak_version() or was, "voice": settings.voice}
        return {"model": model_of(settings, SPEAKING[settings.backend]), "voice": self._voice}

    @property
    def _voice(self) -> str:
        """The voice of a service: one for the whole video."""
        return self.settings.voice or SPEAKING[self.settings.backend].voice

    def connect(self) -> MediaAsker | None:
        settings = self.settings
        if settings.backend == "espeak":
            return None
        profile, how = SPEAKING[settings.backend], settings.instructions
        url, model = url_of(settings, profile), model_of(settings, profile)
        api: OpenAISpeech | GeminiSpeech
        if settings.backend == "gemini":
            api = GeminiSpeech(url, model, self._voice, how)
        else:
            version = settings.api_version
            api = OpenAISpeech(url, model, self._voice, how, settings.speed, version)
        asked = {"voice": self._voice, "instructions": how, "speed": settings.speed}
        return open_asker(
            settings, profile, api, asked, self.workdir, step=self.name, free="espeak"
        )

    async def process(self, item: Item, out: Path) -> None:
        folder = item.input("section")
        section = await run_sync(read_section, folder)
        asker = self.asker
        if section.voice_file is not None:
            spoken = await self.here(_recorded, folder / section.voice_file, section)
        elif section.text is None:
            raise Skip("the section has no text", kind="no_text")
        elif asker is not None and await self.stands_in(p.aloud for p in self._pieces(section)):
            await self._stand_in(section, out)
        elif asker is not None:
            spoken = await have_spoken(asker, self._pieces(section), self.settings.pause)
        else:
            voice = self.settings.voice or espeak_voice(section.language)
            spoken = await self.here(self._speak, section, voice)
        await self.here(_write, spoken, section, out)

    async def _stand_in(self, section: SavedSection, out: Path) -> NoReturn:
        """Raises StandIn, with what stands in for a voice that no service has spoken yet."""
        if self.settings.dry_run:
            counts = [await run_sync(self.count, one.aloud) for one in self._pieces(section)]
            await run_sync(write_counts, out, counts)
            raise StandIn("a count, in a dry run")
        spoken = await self.here(self._speak, section, espeak_voice(section.language))
        await self.here(_write, spoken, section, out, True)
        raise StandIn("espeak-ng, in a preview")

    def _pieces(self, section: SavedSection) -> list[NarrationPiece]:
        most = self.settings.characters or SPEAKING[self.settings.backend].characters
        return in_pieces(section.text or "", section.pronunciation, most)

    def _speak(self, section: SavedSection, voice: str) -> Spoken:
        settings, at = self.settings, 0.0
        said: list[Said] = []
        pieces: list[Samples] = []
        for sentence in sentences_of(section.text or ""):
            aloud = spoken_as(sentence, section.pronunciation)
            samples = speak(aloud, voice, settings.words_per_minute)
            said.append(Said(at, at + len(samples) / RATE, sentence))
            at = said[-1].end + settings.pause
            pieces.append(samples)
        return Spoken(joined(pieces, settings.pause), said, f"espeak:{voice}")


def _recorded(path: Path, section: SavedSection) -> Spoken:
    try:
        with open_media(path) as container:
            samples = resampled(container)
    except NoMediaError as error:
        raise Permanent(f"the section's recording is {error}, no sound", kind="damaged") from None
    except av.FFmpegError as error:
        raise Permanent(
            f"the section's recording cannot be read: {error}", kind="damaged"
        ) from None
    said = timed(sentences_of(section.text or ""), samples)
    return Spoken(samples, said, "file")


def _write(spoken: Spoken, section: SavedSection, out: Path, stands_in: bool = False) -> None:
    """Raises Permanent of a recording, and Transient of what was spoken, where it cannot be what
    the text says."""
    why = fault_of(spoken.samples, section.text or "")
    if why is not None and spoken.made_by == "file":
        raise Permanent(f"the section's recording: {why}", kind="silent")
    if why is not None:
        raise Transient(why, kind="silent")
    write_wav(evened(spoken.samples), out / VOICE)
    facts = {
        "seconds": len(spoken.samples) / RATE,
        "said": [one.as_json() for one in spoken.said],
        "made_by": spoken.made_by,
        "asked": spoken.calls,
        "characters": spoken.characters,
        **({"stands_in": True} if stands_in else {}),
    }
    (out / FACTS).write_text(f"{json.dumps(facts, ensure_ascii=False, indent=2)}\n", "utf-8")
