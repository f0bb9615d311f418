"""The synthetic scenes: deterministic, and their boxes are where the pixels are."""

import math

import numpy as np
import pytest
from PIL import Image

from stages.demo.shapes import COLOURS, KINDS, Shape, draw, random_scene, random_shapes, texture

GREY = (128, 128, 128)


def drawn_extent(picture: Image.Image) -> tuple[int, int, int, int]:
    """Where a picture differs from GREY by more than a faint edge: x1, y1, x2, y2."""
    far = np.abs(np.asarray(picture, int) - GREY).max(axis=2) > 20
    rows, columns = np.flatnonzero(far.any(axis=1)), np.flatnonzero(far.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_a_scene_follows_from_its_seed() -> None:
    picture, shapes = random_scene(7, 320, 180)
    again, same_shapes = random_scene(7, 320, 180)
    other, _ = random_scene(8, 320, 180)
    assert picture.size == (320, 180)
    assert picture.mode == "RGB"
    assert picture.tobytes() == again.tobytes()
    assert shapes == same_shapes
    assert picture.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 100.0])
def test_the_box_is_where_the_shape_is_drawn(kind: str, angle: float) -> None:
    shape = Shape(kind, "red", x=90.3, y=61.8, radius=40.5, angle=angle)
    picture = draw(Image.new("RGB", (200, 120), GREY), [shape])
    assert drawn_extent(picture) == pytest.approx(shape.box(200, 120), abs=1.5)


def test_a_box_ends_at_the_edge_of_the_picture() -> None:
    assert Shape("circle", "blue", x=0, y=10, radius=30).box(100, 50) == pytest.approx(
        (0, 0, 30, 40)
    )
    x1, y1, x2, y2 = Shape("circle", "blue", x=-80, y=10, radius=30).box(100, 50)
    assert (x2 - x1) * (y2 - y1) == 0


def test_drawing_leaves_the_background_as_it_is() -> None:
    background = texture(80, 60, seed=1)
    before = background.tobytes()
    assert draw(background, [Shape("star", "black", 40, 30, 20)]).tobytes() != before
    assert background.tobytes() == before


def test_random_shapes_keep_apart_and_mostly_inside() -> None:
    scenes = [random_shapes(seed, 320, 180, most=5) for seed in range(200)]
    for shapes in scenes:
        for index, shape in enumerate(shapes):
            x1, y1, x2, y2 = shape.box(320, 180)
            assert x2 - x1 >= 15
            assert y2 - y1 >= 15
            for other in shapes[index + 1 :]:
                apart = math.hypot(shape.x - other.x, shape.y - other.y)
                assert apart > shape.radius + other.radius
    assert {shape.kind for shapes in scenes for shape in shapes} == set(KINDS)
    assert {shape.colour for shapes in scenes for shape in shapes} == set(COLOURS)
    assert 5 <= sum(not shapes for shapes in scenes) <= 40
    assert max(len(shapes) for shapes in scenes) == 5
