"""The voice stage: what a section says, spoken, and when each sentence is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import av

import engine
from engine import Item, Permanent, Skip, Stage, Transient, setting
from stages.lesson.scripts.sections import SavedSection, read_section
from stages.lesson.voices.espeak import check_espeak, espeak_version, speak, spoken_as
from stages.lesson.voices.pcm import RATE, evened, joined, resampled, write_wav
from stages.lesson.voices.sentences import sentences_of
from stages.lesson.voices.timing import Said, timed
from stages.media.media_file import NoMediaError, open_media

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

VOICE, FACTS = "voice.wav", "voice.json"

FASTEST = 45
"""Characters a second that nobody speaks: what is shorter than that has lost its end."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Samples, and when each sentence is, in seconds from their beginning."""

    samples: "Samples"
    said: list[Said]
    made_by: str


class Voice(Stage):
    """Have the text of a section spoken.

    Of `section` it reads section.json and the recording that it names. It writes voice.wav (48 kHz,
    mono) and voice.json: {"seconds", "said": [{"start", "end", "text"}], "made_by"}. Raises Skip
    where a section has no text; what comes out silent, or far too short, fails and is tried again.
    """

    inputs = "section"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset({"damaged", "no_voice", "silent"})

    class Settings(engine.Settings):
        backend: Literal["espeak"] = setting(
            "espeak", 'Who speaks: "espeak" (espeak-ng on this machine).'
        )
        voice: str | None = setting(
            None, "The voice's name; none: that of the script's language.", example="en-gb"
        )
        words_per_minute: int = setting(160, "How fast espeak-ng speaks.", ge=80, le=400)
        pause: float = setting(0.25, "Seconds between sentences.", ge=0, le=5)

    settings: "Voice.Settings"

    def find_ingredients(self, earlier: Any) -> dict[str, Any]:
        """The version of what speaks. Raises UsageError where it is missing."""
        return {"speaker": espeak_version()}

    def open(self) -> None:
        check_espeak()

    def process(self, item: Item, out: Path) -> None:
        folder = item.input("section")
        section = read_section(folder)
        if section.voice_file is not None:
            spoken = _recorded(folder / section.voice_file, section)
        elif section.text is not None:
            spoken = self._speak(section)
        else:
            raise Skip("the section has no text", kind="no_text")
        _check(spoken, section)
        write_wav(evened(spoken.samples), out / VOICE)
        facts = {
            "seconds": len(spoken.samples) / RATE,
            "said": [one.as_json() for one in spoken.said],
            "made_by": spoken.made_by,
        }
        (out / FACTS).write_text(f"{json.dumps(facts, ensure_ascii=False, indent=2)}\n", "utf-8")

    def _speak(self, section: SavedSection) -> Spoken:
        settings, at = self.settings, 0.0
        said: list[Said] = []
        pieces: list[Samples] = []
        voice = settings.voice or section.language.lower()
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


def _check(spoken: Spoken, section: SavedSection) -> None:
    """Raise where it cannot be what the text says."""
    samples = spoken.samples
    if not len(samples) or int(abs(samples.astype("int32")).max()) < 100:
        why = "there is nothing to be heard in what was spoken"
    elif (seconds := len(samples) / RATE) < len(section.text or "") / FASTEST:
        why = f"{seconds:.1f} s are far too short for {len(section.text or '')} characters"
    else:
        return
    if spoken.made_by == "file":
        raise Permanent(f"the section's recording: {why}", kind="silent")
    raise Transient(why, kind="silent")
