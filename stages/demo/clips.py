"""The content of the demo's videos: shapes that move before textured backgrounds.

A clip is a row of shots, each before a background of its own, so any two frames of different shots
are far apart for a perceptual hash. The place of each shape at any moment is known exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

from stages.demo.shapes import COLOURS, Shape, draw, texture

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Shot:
    """Up to three shapes that move for a second, or are held still for `held` seconds.

    Frames of different shots are different pictures; those of a held shot are one and the same.
    `shapes` names their kinds, with spaces between them.
    """

    shapes: str
    held: int = 0

    @property
    def kinds(self) -> list[str]:
        return self.shapes.split()

    @property
    def seconds(self) -> int:
        return self.held or 1


@dataclass(frozen=True, slots=True)
class Motion:
    """A shape at the beginning of its shot, and its motion: pixels and degrees a second."""

    shape: Shape
    across: float
    down: float
    turn: float

    def after(self, seconds: float) -> Shape:
        return replace(
            self.shape,
            x=self.shape.x + self.across * seconds,
            y=self.shape.y + self.down * seconds,
            angle=self.shape.angle + self.turn * seconds,
        )


@dataclass(frozen=True)
class Clip:
    """The content of a video of this size. Colours, places and motions
    follow from the clip's name."""

    name: str
    width: int
    height: int
    fps: int
    shots: Sequence[Shot]

    @property
    def seconds(self) -> int:
        return sum(shot.seconds for shot in self.shots)

    def shot_at(self, seconds: float) -> int:
        """The index of the shot that is shown at this second of the clip."""
        until = 0
        for index, shot in enumerate(self.shots):
            until += shot.seconds
            if 0 <= seconds < until:
                return index
        raise ValueError(f"{self.name} lasts {self.seconds} s and shows nothing at {seconds} s")

    def shapes_at(self, seconds: float) -> tuple[Shape, ...]:
        """The shapes at this second of the clip, in pixels of its own size."""
        index = self.shot_at(seconds)
        since = seconds - sum(shot.seconds for shot in self.shots[:index])
        return tuple(motion.after(since) for motion in self._motions[index])

    def pictures(self) -> Iterator["Image.Image"]:
        """Every frame in turn, RGB."""
        number = 0
        for index, shot in enumerate(self.shots):
            background = texture(self.width, self.height, self._random(index).getrandbits(32))
            for _ in range(shot.seconds * self.fps):
                yield draw(background, self.shapes_at(number / self.fps))
                number += 1

    @cached_property
    def _motions(self) -> list[tuple[Motion, ...]]:
        return [tuple(self._set_out(index)) for index in range(len(self.shots))]

    def _set_out(self, index: int) -> Iterator[Motion]:
        """The shapes of a shot side by side, each in a column of its own and in full view."""
        shot, random = self.shots[index], self._random(index)
        random.getrandbits(32)  # the background's
        pace = 0.0 if shot.held else 1.0
        colours = random.sample(sorted(COLOURS), len(shot.kinds))
        for column, (kind, colour) in enumerate(zip(shot.kinds, colours, strict=True)):
            x = (column + random.uniform(0.42, 0.58)) / len(shot.kinds)
            y = random.uniform(0.3, 0.7)
            radius = random.uniform(0.15, 0.22) * self.height
            angle = random.uniform(0, 360)
            yield Motion(
                Shape(kind, colour, x * self.width, y * self.height, radius, angle),
                across=pace * random.uniform(-0.2, 0.2) * self.width,
                down=pace * random.uniform(-0.2, 0.2) * self.height,
                turn=pace * random.uniform(-90, 90),
            )

    def _random(self, index: int) -> Random:
        return Random(f"{self.name} {index}")
