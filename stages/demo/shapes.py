"""Synthetic scenes: coloured shapes at known places on textured backgrounds.

The tiny detector that ships with Penstock is trained on them, and the demo's videos are made of
them: real frames for a real detector, with the right answers known. Everything follows from seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

WEIGHTS = Path(__file__).with_name("shapes.pt")
"""A YOLO model that detects KINDS, made by benchmarks/train_demo_weights.py."""

IMAGE_SIZE = 224
"""The `image_size` in pixels at which the model works best on pictures 16 by 9."""

KINDS = ("circle", "square", "star", "triangle")
"""The kinds of shape in the scenes; the index of a kind is its class number in the detector."""

COLOURS = {
    "red": (214, 40, 40),
    "orange": (244, 140, 6),
    "yellow": (250, 210, 1),
    "green": (56, 176, 0),
    "blue": (0, 119, 182),
    "purple": (123, 44, 191),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}

SMOOTHING = 4
"""Shapes are drawn this many times larger and reduced, so that their edges are smooth."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: its kind, its colour's name, centre and outer radius in pixels, angle in degrees.

    It may reach over the edges of the picture it is drawn on.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float = 0.0

    @property
    def outline(self) -> list[tuple[float, float]]:
        """The corners as (x, y) in pixels, in order around the centre."""
        radii = {
            "circle": [1.0] * 64,
            "square": [1.0] * 4,
            "star": [1.0, 0.42] * 5,
            "triangle": [1.0] * 3,
        }[self.kind]
        turns = [self.angle / 360 + step / len(radii) for step in range(len(radii))]
        return [
            (
                self.x + self.radius * share * math.sin(math.tau * turn),
                self.y - self.radius * share * math.cos(math.tau * turn),
            )
            for share, turn in zip(radii, turns, strict=True)
        ]

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of the bounding box inside a picture of this size: (x1, y1, x2, y2) in pixels.

        A shape that is wholly outside has a box of no area.
        """
        xs, ys = zip(*self.outline, strict=True)
        return (
            min(max(min(xs), 0.0), width),
            min(max(min(ys), 0.0), height),
            min(max(max(xs), 0.0), width),
            min(max(max(ys), 0.0), height),
        )


def texture(width: int, height: int, seed: int) -> "Image.Image":
    """A muted background of this size in pixels: a gradient, clouds, fine grain, a few long lines.

    The clouds are value noise: random values on a coarse grid, enlarged smoothly, over several
    scales.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    random = np.random.default_rng((seed, 1))
    base = random.uniform(60, 190, 3).mean() + random.uniform(-18, 18, 3)
    slope = random.uniform(-40, 40, 2)
    across = np.linspace(-0.5, 0.5, width)[None, :] * slope[0]
    down = np.linspace(-0.5, 0.5, height)[:, None] * slope[1]
    light = across + down
    for cells, strength in ((3, 30), (8, 18), (24, 10)):
        grid = random.uniform(-strength, strength, (cells, cells)).astype(np.float32)
        light = light + np.asarray(Image.fromarray(grid).resize((width, height), 3))
    grain = random.normal(0, random.uniform(1, 7), (height, width, 1))
    pixels = base[None, None, :] + light[:, :, None] + grain
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pencil = ImageDraw.Draw(image)
    for _ in range(int(random.integers(0, 5))):
        ends = random.uniform(-0.1, 1.1, 4) * (width, height, width, height)
        shade = tuple(int(value) for value in random.integers(30, 220, 3))
        pencil.line([float(end) for end in ends], shade, width=int(random.integers(1, 4)))
    return image


def draw(background: "Image.Image", shapes: Sequence[Shape]) -> "Image.Image":
    """A copy of the background, RGB, with the shapes on it: later ones over earlier ones."""
    from PIL import Image, ImageDraw

    picture = background.convert("RGB")
    for shape in shapes:
        left, top = math.floor(shape.x - shape.radius), math.floor(shape.y - shape.radius)
        side = math.ceil(2 * shape.radius) + 2
        mask = Image.new("L", (side * SMOOTHING, side * SMOOTHING))
        corners = [((x - left) * SMOOTHING, (y - top) * SMOOTHING) for x, y in shape.outline]
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        picture.paste(COLOURS[shape.colour], (left, top), mask.reduce(SMOOTHING))
    return picture


def random_shapes(seed: int, width: int, height: int, most: int = 4) -> tuple[Shape, ...]:
    """Up to `most` shapes (now and then none) for a picture of this size, none over another."""
    import numpy as np

    random = np.random.default_rng((seed, 2))
    wanted = 0 if random.random() < 0.1 else int(random.integers(1, most + 1))
    shapes: list[Shape] = []
    for _ in range(wanted * 10):
        if len(shapes) == wanted:
            break
        shape = _random_shape(random, width, height)
        if all(
            math.hypot(shape.x - other.x, shape.y - other.y) > shape.radius + other.radius
            for other in shapes
        ):
            shapes.append(shape)
    return tuple(shapes)


def random_scene(
    seed: int, width: int, height: int, most: int = 4
) -> tuple["Image.Image", tuple[Shape, ...]]:
    """An RGB picture of this size in pixels, and the shapes on it."""
    shapes = random_shapes(seed, width, height, most)
    return draw(texture(width, height, seed), shapes), shapes


def _random_shape(random: "np.random.Generator", width: int, height: int) -> Shape:
    radius = float(random.uniform(0.1, 0.3)) * min(width, height)
    # A fifth of the radius may be cut off at an edge, as happens when a shape moves through.
    x, y = (float(random.uniform(0.8 * radius, size - 0.8 * radius)) for size in (width, height))
    return Shape(
        kind=KINDS[int(random.integers(len(KINDS)))],
        colour=list(COLOURS)[int(random.integers(len(COLOURS)))],
        x=x,
        y=y,
        radius=radius,
        angle=float(random.uniform(0, 360)),
    )
