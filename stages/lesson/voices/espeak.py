"""espeak-ng: a voice on this machine, plain, quick and free."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine import Permanent, StopRun, Transient
from stages.lesson.voices.pcm import resampled
from stages.media.media_file import open_sound

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

COMMAND = "espeak-ng"
NAMES = {"zh": "cmn", "nn": "nb", "no": "nb", "iw": "he", "in": "id"}
"""Languages that it has under other codes than BCP 47 does, or did."""

WITHIN = 120.0
"""Seconds that a sentence may take."""


def check_espeak() -> str:
    """The program's path. Raises StopRun where it is missing: no section can be spoken then."""
    found = shutil.which(COMMAND)
    if found is None:
        raise StopRun(
            f"a section is to be spoken by the program {COMMAND}, which is not here: install it "
            f"(apt install espeak-ng, brew install espeak-ng) and give the same command again, or "
            f"set stages.voice.backend to a service"
        )
    return found


def espeak_version() -> str | None:
    """None where it is not here."""
    found = shutil.which(COMMAND)
    if found is None:
        return None
    told = subprocess.run(
        [found, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    return told.stdout.strip().partition("  ")[0]


def espeak_voice(language: str) -> str:
    """The voice of a language, as BCP 47 has it, by the name that espeak-ng has for it."""
    first, _, rest = language.lower().partition("-")
    if first == "zh" and rest.startswith(("hk", "mo")):
        return "yue"
    return NAMES.get(first, language.lower())


def speak(text: str, voice: str, words_per_minute: int) -> "Samples":
    """The text, spoken. Raises Permanent for a voice or language that espeak-ng has not."""
    command = [
        check_espeak(),
        "-v",
        voice,
        "-s",
        str(words_per_minute),
        "--stdin",
        "--stdout",
        "-b1",
    ]
    try:
        told = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=WITHIN, check=False
        )
    except subprocess.TimeoutExpired:
        raise Transient(f"{COMMAND} had not said it after {WITHIN:g} s") from None
    said = told.stderr.decode("utf-8", "replace").strip()
    if "voice does not exist" in said or "set voice" in said.lower():
        raise Permanent(
            f"{COMMAND} has no voice {voice!r}; `{COMMAND} --voices` lists them; set "
            "stages.voice.voice, or the script's language",
            kind="no_voice",
        )
    if told.returncode or not told.stdout:
        raise Transient(f"{COMMAND} failed ({told.returncode}): {said or 'it says nothing'}")
    return read_sound(told.stdout)


def read_sound(content: bytes) -> "Samples":
    """The samples of a WAV file in memory, whatever length its header states."""
    with open_sound(content) as container:
        return resampled(container)


def spoken_as(text: str, pronunciation: Mapping[str, str]) -> str:
    """The text as it is to be read out: whole words are replaced, the longest first."""
    if not pronunciation:
        return text
    words = sorted(pronunciation, key=len, reverse=True)
    either = "|".join(re.escape(one) for one in words)
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", lambda found: pronunciation[found[0]], text)
