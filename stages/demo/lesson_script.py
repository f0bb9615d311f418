"""The planted content of `penstock demo lesson`: a script, with pictures and recordings beside it.

Each picture is of one colour. Each recording begins with a click, so that it is known to the frame
when it has to be heard.
"""

import json
import shutil
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.demo.folder import LIST, Footage
from stages.demo.voice import SENTENCES, recording
from stages.lesson.voices.espeak import COMMAND
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER = "script"
SCRIPT = "harbour.json"

TITLE = "A day at the harbour"

FPS = 25
SIZE = (640, 360)
BEFORE, AFTER = 0.3, 0.6
"""Seconds of silence around a voice."""

CLICK = 20_000
CLICK_SECONDS, PAUSE_SECONDS = 0.002, 0.4
"""The click is as long as that, and so is the silence between it and the voice."""


@dataclass(frozen=True, slots=True)
class PlantedSection:
    """A section. `said` names a recording of the demo's; it is played, or spoken by espeak-ng.

    `colour` is that of its picture; None for a card. `damaged`: its picture cannot be read.
    """

    title: str
    said: str | None = None
    recorded: bool = False
    colour: tuple[int, int, int] | None = None
    seconds: float | None = None
    damaged: bool = False

    @property
    def text(self) -> str | None:
        return SENTENCES[self.said] if self.said is not None else None

    @property
    def speaks_itself(self) -> bool:
        """Whether its voice is a recording; without espeak-ng, all are."""
        return self.said is not None and (self.recorded or not has_espeak())


SECTIONS: Sequence[PlantedSection] = (
    PlantedSection("The boat leaves", "boat", recorded=True, colour=(20, 90, 160)),
    PlantedSection("A letter", "letter"),
    PlantedSection("Nothing is said", colour=(200, 150, 40), seconds=2),
    PlantedSection("The train", "train", recorded=True, colour=(150, 40, 50)),
    PlantedSection("Rain", "umbrella", recorded=True, damaged=True, colour=(0, 0, 0)),
    PlantedSection("Apple trees", "trees", colour=(40, 130, 60)),
    PlantedSection("The museum", "museum"),
)

SETTINGS = (
    f'stages.image.size="{SIZE[0]}x{SIZE[1]}"',
    f"stages.clip.fps={FPS}",
    f"stages.clip.before={BEFORE}",
    f"stages.clip.after={AFTER}",
    'stages.lesson.on_failure="placeholder"',
)
"""The arguments of `--set` for `penstock lesson`."""


def has_espeak() -> bool:
    return shutil.which(COMMAND) is not None


def spoken(said: str) -> "NDArray[np.int16]":
    """A click, silence, and the recording, at RATE."""
    import numpy as np

    click = np.full(round(CLICK_SECONDS * RATE), CLICK, np.int16)
    return np.concatenate([click, np.zeros(round(PAUSE_SECONDS * RATE), np.int16), recording(said)])


def make_script(folder: Path) -> Iterator[str]:
    """Write the script, and what lies beside it, into `folder`; gives each name in turn."""
    sections = []
    for number, section in enumerate(SECTIONS):
        told: dict[str, Any] = {"title": section.title}
        if section.text is not None:
            told["text"] = section.text
        if section.seconds is not None:
            told["seconds"] = section.seconds
        if section.speaks_itself:
            told["voice_file"] = f"{number}.wav"
            _write_recording(str(section.said), folder / told["voice_file"])
            yield told["voice_file"]
        if section.colour is not None:
            told["image_file"] = f"{number}.png"
            _write_picture(section, folder / told["image_file"])
            yield told["image_file"]
        sections.append(told)
    script = {"title": TITLE, "language": "en", "sections": sections}
    (folder / SCRIPT).write_text(f"{json.dumps(script, indent=2)}\n", "utf-8")
    yield SCRIPT


def _write_picture(section: PlantedSection, target: Path) -> None:
    from PIL import Image

    if section.damaged:
        target.write_bytes(b"This is no picture.")
    else:
        Image.new("RGB", (320, 180), section.colour).save(target)


def _write_recording(said: str, target: Path) -> None:
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(spoken(said).tobytes())


FOOTAGE = Footage(SECTIONS, 9, make_script, port=0, folder=FOLDER, what="files")


def list_script(out: Path) -> None:
    """Write the list of scripts that the run is given."""
    (out / LIST).write_text(f"{(out / FOLDER / SCRIPT).resolve()}\n", "utf-8")
