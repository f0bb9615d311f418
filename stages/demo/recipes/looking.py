"""What can be told from a picture of the demo's cooking, by its pixels alone; and the recipe that
follows from such notes. It knows the shapes, and nothing of when they are shown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stages.demo.recipes.cooking import THINGS, TOOLS, in_words
from stages.demo.shapes import COLOURS
from stages.media.pictures.frame_quality import measure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 70.0
"""The distance of a pixel from a colour, in levels of 255, up to which it is of that colour."""

LEAST = 250
"""The pixels of a shape, at least."""

SHARP = 100.0
"""The sharpness of a picture in focus, at least."""

EVERY_COLOUR = ("red", "orange", "yellow", "green", "blue", "purple")
"""Those that the table has not."""


def notes_of(jpeg: bytes) -> dict[str, Any]:
    """Notes of a frame in the form that analyse asks for."""
    import cv2
    import numpy as np

    picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    if measure(picture).sharpness < SHARP:
        return _notes("It is out of focus.")
    shapes = Counter(shapes_in(picture))
    things = {
        name: shapes[look.colour, look.kind]
        for name, look in THINGS.items()
        if shapes[look.colour, look.kind]
    }
    tools = [name for name, look in TOOLS.items() if shapes[look.colour, look.kind]]
    if not tools or not things:
        return _notes("A table.")
    said = in_words(things)
    return _notes(f"A {tools[0]} beside {' and '.join(said)}.", said, [TOOLS[tools[0]].action])


def _notes(
    description: str, things: Sequence[str] = (), actions: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "description": description,
        "things": [*things],
        "actions": [*actions],
        "text_seen": [],
    }


def shapes_in(picture: "NDArray[np.uint8]") -> Iterator[tuple[str, str]]:
    """The colour and the kind of each shape in a picture of shape (height, width, 3), BGR."""
    import cv2
    import numpy as np

    palette = np.array([COLOURS[name][::-1] for name in EVERY_COLOUR], np.float32)
    apart = np.linalg.norm(picture[:, :, None, :].astype(np.float32) - palette, axis=3)
    nearest = np.where(apart.min(axis=2) <= NEAR, apart.argmin(axis=2), -1)
    for number, colour in enumerate(EVERY_COLOUR):
        # Opened: edges, where two colours mix, are thin.
        mask = cv2.morphologyEx(
            (nearest == number).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)
        )
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            if cv2.contourArea(outline) >= LEAST:
                yield colour, _kind(outline)


def _kind(outline: Any) -> str:
    """By how much of its hull, and of the circle around it, a shape fills."""
    import cv2
    import numpy as np

    area = cv2.contourArea(outline)
    if area < 0.75 * cv2.contourArea(cv2.convexHull(outline)):
        return "star"
    _, radius = cv2.minEnclosingCircle(outline)
    filled = area / (np.pi * radius**2)
    if filled > 0.8:
        return "circle"
    return "square" if filled > 0.52 else "triangle"


def recipe_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe that follows from a title and the notes of frames, with their seconds."""
    frames = [one for one in told["frames"] if one.get("actions")]
    steps = []
    for (action, *things), some in groupby(frames, key=_done):
        seconds = [one["at"] for one in some]
        text = f"{action.capitalize()} {' and '.join(things)}."
        steps.append({"text": text, "start": seconds[0], "end": seconds[-1]})
    first_seen: dict[str, tuple[str, float]] = {}
    for one in frames:
        for thing in one["things"]:
            amount, _, name = thing.partition(" ")
            first_seen.setdefault(name, (amount, one["at"]))
    return {
        "title": str(told["title"]).capitalize(),
        "description": "A dish of the demo's.",
        "servings": None,
        "times": {"preparation": None, "cooking": None, "total": None},
        "ingredients": [
            {"name": name, "amount": amount, "at": at} for name, (amount, at) in first_seen.items()
        ],
        "steps": steps,
    }


def _done(frame: Mapping[str, Any]) -> tuple[str, ...]:
    """What is done in a frame, and with what."""
    return frame["actions"][0], *frame["things"]
