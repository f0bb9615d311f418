"""The content of the demo's films: scenes with two shapes each, sounds, and a voice.

Each scene has a background of its own, so that the cuts are where it changes. Which shapes stand
where, what is heard and what is said at any second is known exactly.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Literal

from stages.demo.shapes import Shape, draw, texture
from stages.demo.voice import recording, seconds_of, sound
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

FULL_SCALE = 32767

LOUD: Mapping[str, float] = {"Tone": 0.3, "Noise": 0.15, "Clicks": 0.5}
"""The level of each sound, of full scale."""


@dataclass(frozen=True, slots=True)
class Take:
    """A scene of so many seconds: a coloured shape beside or above another, and what is heard."""

    seconds: int
    first: str
    where: Literal["left of", "above"]
    second: str
    hears: str | None = None

    @property
    def caption(self) -> str:
        return f"a {self.first} {self.where} a {self.second}"

    @property
    def objects(self) -> Mapping[str, int]:
        """The number of each kind of shape."""
        return Counter(shape.split()[1] for shape in (self.first, self.second))

    def shapes(
        self, chance: Random, width: int, height: int, frames: int
    ) -> Iterator[Sequence[Shape]]:
        """The shapes of each frame: they drift, and stay where the caption says."""
        places = [(0.5, 0.26), (0.5, 0.74)]
        if self.where == "left of":
            places = [(chance.uniform(0.2, 0.32), 0.5), (chance.uniform(0.68, 0.8), 0.5)]
        moves = []
        for name, (x, y) in zip((self.first, self.second), places, strict=True):
            colour, kind = name.split()
            radius, angle = chance.uniform(0.16, 0.2) * height, 45.0 if kind == "square" else 0.0
            shape = Shape(kind, colour, x * width, y * height, radius, angle)
            moves.append((shape, chance.uniform(-0.05, 0.05) * width / frames))
        for number in range(frames):
            yield [replace(shape, x=shape.x + drift * number) for shape, drift in moves]


@dataclass(frozen=True)
class Film:
    """A video file of these scenes. `said` has the second at which each recording begins; a film
    may be `silent`: without a sound track."""

    file: str
    takes: Sequence[Take]
    said: Mapping[float, str]
    silent: bool = False
    width: int = 320
    height: int = 180
    fps: int = 10

    @property
    def name(self) -> str:
        return self.file.partition(".")[0]

    @cached_property
    def cuts(self) -> Sequence[int]:
        """The second at which each scene ends."""
        return [*accumulate(take.seconds for take in self.takes)]

    @property
    def seconds(self) -> int:
        return self.cuts[-1]

    def spans(self) -> Iterator[tuple[int, int, Take]]:
        """Start and end of each scene, in seconds, and the scene."""
        for end, take in zip(self.cuts, self.takes, strict=True):
            yield end - take.seconds, end, take

    def is_spoken_over(self, start: float, end: float) -> bool:
        """Whether somebody speaks between these seconds."""
        return any(at < end and at + seconds_of(name) > start for at, name in self.said.items())

    def pictures(self) -> Iterator["Image.Image"]:
        """Every frame in turn, RGB."""
        for index, take in enumerate(self.takes):
            chance = Random(f"{self.name} {index}")
            background = texture(self.width, self.height, chance.getrandbits(32))
            frames = take.seconds * self.fps
            for shapes in take.shapes(chance, self.width, self.height, frames):
                yield draw(background, shapes)

    def track(self) -> "NDArray[np.int16] | None":
        """The whole sound, at RATE, one channel; None for a silent film."""
        import numpy as np

        if self.silent:
            return None
        heard = np.zeros(self.seconds * RATE)
        for index, (start, end, take) in enumerate(self.spans()):
            if take.hears is not None:
                chance = np.random.default_rng((len(self.takes), index))
                times = np.arange((end - start) * RATE) / RATE
                level = LOUD[take.hears]
                heard[start * RATE : end * RATE] = level * sound(take.hears, times, chance)
        for at, name in self.said.items():
            voice = recording(name) / FULL_SCALE
            heard[int(at * RATE) : int(at * RATE) + len(voice)] += voice
        return np.rint(np.clip(heard, -1, 1) * FULL_SCALE).astype(np.int16)
