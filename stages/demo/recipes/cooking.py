"""Cooking, filmed from above and drawn by code: a table, and on it a shape for each tool and thing.

What lies there at any second is known, and when the camera is out of focus.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from stages.demo.shapes import Shape, draw, texture

if TYPE_CHECKING:
    from PIL import Image

BLUR = 7
"""The radius of the blur, in pixels, where the camera is out of focus."""

TABLE = 12
"""The seed of the table, which is grainy: so it looks otherwise when it is out of focus."""

PLACES = tuple((x, y) for x in (0.5, 0.7, 0.9) for y in (0.28, 0.72))
"""Where things lie, as shares of the picture; the tool lies to their left."""


class ToolLook(NamedTuple):
    """The shape that a tool is drawn as, and what is done with it."""

    colour: str
    kind: str
    action: str


class ThingLook(NamedTuple):
    """The shape that a thing is drawn as, and the name of several."""

    colour: str
    kind: str
    several: str


TOOLS: Mapping[str, ToolLook] = {
    "whisk": ToolLook("blue", "star", "whisk"),
    "board": ToolLook("blue", "square", "cut"),
    "pan": ToolLook("blue", "circle", "fry"),
    "grater": ToolLook("blue", "triangle", "grate"),
}

THINGS: Mapping[str, ThingLook] = {
    "egg": ThingLook("yellow", "circle", "eggs"),
    "tomato": ThingLook("red", "circle", "tomatoes"),
    "basil leaf": ThingLook("green", "triangle", "basil leaves"),
    "piece of cheese": ThingLook("orange", "square", "pieces of cheese"),
    "carrot": ThingLook("orange", "triangle", "carrots"),
    "onion": ThingLook("purple", "circle", "onions"),
    "zucchini": ThingLook("green", "square", "zucchini"),
}


def in_words(things: Mapping[str, int]) -> list[str]:
    """So many of each thing: ["3 eggs", "1 onion"]."""
    return [
        f"{count} {name if count == 1 else THINGS[name].several}" for name, count in things.items()
    ]


@dataclass(frozen=True, slots=True)
class PlantedStep:
    """From second `start` to `end` a tool lies on the table, and so many of each thing; `text` is
    the instruction for that. `still`: nothing moves."""

    start: float
    end: float
    tool: str
    things: Mapping[str, int]
    text: str
    still: bool = False

    def lasts_at(self, second: float) -> bool:
        return self.start <= second < self.end

    def shapes(self, chance: Random, width: int, height: int) -> list[tuple[Shape, float]]:
        """Each shape as it lies at first, and the pixels by which it drifts in a second."""
        tool = TOOLS[self.tool]
        found = [_shape(tool, 0.2 * width, 0.5 * height, 0.22 * height)]
        places = iter(chance.sample(PLACES, sum(self.things.values())))
        for name, count in self.things.items():
            for _ in range(count):
                x, y = next(places)
                found.append(_shape(THINGS[name], x * width, y * height, 0.14 * height))
        pace = 0.0 if self.still else 0.01 * width
        return [(shape, chance.uniform(-pace, pace)) for shape in found]


def _shape(look: ToolLook | ThingLook, x: float, y: float, radius: float) -> Shape:
    """Squares lie flat."""
    return Shape(look.kind, look.colour, x, y, radius, 45.0 if look.kind == "square" else 0.0)


@dataclass(frozen=True)
class CookingFilm:
    """A video file of these steps, in order; between `blurred` seconds it is out of focus. It has
    no sound."""

    file: str
    steps: Sequence[PlantedStep]
    blurred: tuple[float, float]
    width: int = 320
    height: int = 180
    fps: int = 10

    @property
    def name(self) -> str:
        return self.file.partition(".")[0]

    @property
    def seconds(self) -> float:
        return self.steps[-1].end

    def step_at(self, second: float) -> PlantedStep | None:
        """What is to be seen; None where nothing lies on the table, or it is out of focus."""
        if self.is_blurred(second):
            return None
        return next((step for step in self.steps if step.lasts_at(second)), None)

    def is_blurred(self, second: float) -> bool:
        return self.blurred[0] <= second < self.blurred[1]

    def pictures(self) -> Iterator["Image.Image"]:
        """Every frame in turn, RGB."""
        for number in range(round(self.seconds * self.fps)):
            yield self.picture_at(number / self.fps)

    def picture_at(self, second: float) -> "Image.Image":
        """What is filmed in that second, RGB."""
        from PIL import ImageFilter

        shapes = [
            replace(shape, x=shape.x + pace * (second - step.start))
            for step, some in zip(self.steps, self._shapes, strict=True)
            if step.lasts_at(second)
            for shape, pace in some
        ]
        picture = draw(self._table, shapes)
        if self.is_blurred(second):
            return picture.filter(ImageFilter.GaussianBlur(BLUR))
        return picture

    @cached_property
    def _table(self) -> "Image.Image":
        return texture(self.width, self.height, TABLE)

    @cached_property
    def _shapes(self) -> list[list[tuple[Shape, float]]]:
        """Those of each step."""
        return [
            step.shapes(Random(f"{self.name} {number}"), self.width, self.height)
            for number, step in enumerate(self.steps)
        ]

    def track(self) -> None:
        """There is no sound."""
