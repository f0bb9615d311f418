"""Footage in which it is known what happens when: a table filmed from above, made by code."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 25
SIZE = (320, 180)
MARGIN = 40
"""Pixels of the table beyond the picture, into which the camera sways."""


@dataclass(frozen=True, slots=True)
class PlantedEvent:
    """Something that is to be seen from second `start` to `end`: a thing on the table, or, where it
    is `elsewhere`, another place altogether."""

    start: float
    end: float
    seed: int
    elsewhere: bool

    def shows_at(self, second: float) -> bool:
        return self.start <= second < self.end


@dataclass(frozen=True, slots=True)
class EventFootage:
    """A plan of a video: its seconds, its events in order, and stretches out of focus."""

    seconds: float
    events: Sequence[PlantedEvent]
    blurred: Sequence[tuple[float, float]]
    seed: int

    def is_blurred(self, second: float) -> bool:
        return any(begin <= second < end for begin, end in self.blurred)

    def covered_by(self, seconds: Sequence[float]) -> int:
        """How many events one of the frames at these seconds shows, in focus."""
        sharp = [second for second in seconds if not self.is_blurred(second)]
        return sum(any(map(event.shows_at, sharp)) for event in self.events)


def planned(seed: int, seconds: float = 60.0, events: int = 5) -> EventFootage:
    """Events of 1.5 to 4 s at any time, with nothing for long between some of them; the camera is
    out of focus three times, for 1.5 to 4 s, at times while something happens, but never all the
    while."""
    dice = random.Random(seed)
    starts: list[tuple[float, float]] = []
    while len(starts) < events:
        begin, length = dice.uniform(1.0, seconds - 5.0), dice.uniform(1.5, 4.0)
        if all(begin + length + 0.5 < one or begin > one + other + 0.5 for one, other in starts):
            starts.append((begin, length))
    found = [
        PlantedEvent(begin, begin + length, dice.randrange(10**6), dice.random() < 0.25)
        for begin, length in sorted(starts)
    ]
    blurred: list[tuple[float, float]] = []
    while len(blurred) < 3:
        begin, length = dice.uniform(0.5, seconds - 4.5), dice.uniform(1.5, 4.0)
        if not any(one.start >= begin - 0.7 and one.end <= begin + length + 0.7 for one in found):
            blurred.append((begin, begin + length))
    whole = EventFootage(seconds, found, blurred, seed)
    if all(_has_a_sharp_second(whole, one) for one in found):
        return whole
    return planned(seed + 1000, seconds, events)


def _has_a_sharp_second(footage: EventFootage, event: PlantedEvent) -> bool:
    """Whether the event is in focus for a second without a break."""
    times = np.arange(event.start, event.end, 0.1)
    run = longest = 0
    for time in times:
        run = 0 if footage.is_blurred(float(time)) else run + 1
        longest = max(longest, run)
    return longest >= 10


class Camera:
    """Draws the footage, frame by frame."""

    def __init__(self, footage: EventFootage) -> None:
        self._footage = footage
        self._table = _place(footage.seed)
        self._places = {one.seed: _place(one.seed) for one in footage.events if one.elsewhere}
        self._noise = np.random.default_rng(footage.seed)

    def at(self, second: float) -> "NDArray[np.uint8]":
        """The picture, of shape (height, width, 3), BGR."""
        table = self._table
        for event in self._footage.events:
            if event.shows_at(second):
                shown = self._places.get(event.seed)
                table = _with_thing(self._table, event.seed) if shown is None else shown
        x = round(MARGIN / 2 * (1 + np.sin(second / 3)))
        y = round(MARGIN / 2 * (1 + np.cos(second / 4)))
        picture = table[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32)
        if self._footage.is_blurred(second):
            picture = cv2.GaussianBlur(picture, (0, 0), 5)
        picture = picture + self._noise.normal(0, 2.0, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)


def film_footage(footage: EventFootage, path: Path) -> Path:
    """The footage as an MP4."""
    camera = Camera(footage)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(round(footage.seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(camera.at(number / RATE), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def moments(footage: EventFootage, fps: float) -> Iterator[float]:
    """The seconds at which candidates are taken."""
    yield from (number / fps for number in range(int(footage.seconds * fps)))


def _place(seed: int) -> "NDArray[np.uint8]":
    """A table with things on it that stay."""
    dice = np.random.default_rng(seed)
    width, height = SIZE[0] + MARGIN, SIZE[1] + MARGIN
    coarse = dice.integers(60, 180, (7, 12, 3)).astype(np.uint8)
    table = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = dice.normal(0, 14, (height, width, 1))
    drawn = np.clip(table.astype(np.float32) + grain, 0, 255).astype(np.uint8)
    for _ in range(5):
        _draw_thing(drawn, dice)
    return drawn


def _with_thing(table: "NDArray[np.uint8]", seed: int) -> "NDArray[np.uint8]":
    drawn = table.copy()
    _draw_thing(drawn, np.random.default_rng(seed))
    return drawn


def _draw_thing(picture: "NDArray[np.uint8]", dice: np.random.Generator) -> None:
    """A disc or a board with a pattern, an eighth to a quarter of the picture wide."""
    radius = int(dice.integers(SIZE[0] // 16, SIZE[0] // 8))
    x = int(dice.integers(MARGIN + radius, SIZE[0] - radius))
    y = int(dice.integers(MARGIN + radius, SIZE[1] - radius))
    colour, other = (tuple(map(int, dice.integers(0, 256, 3))) for _ in range(2))
    if dice.random() < 0.5:
        cv2.circle(picture, (x, y), radius, colour, -1)
    else:
        cv2.rectangle(
            picture, (x - radius, y - radius // 2), (x + radius, y + radius // 2), colour, -1
        )
    for step in range(-radius, radius, 8):
        cv2.line(picture, (x + step, y - radius // 3), (x + step + 4, y + radius // 3), other, 1)
