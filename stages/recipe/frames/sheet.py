"""A contact sheet: many candidates as small pictures on one, each with its number."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from stages.recipe.frames.candidates import FrameCandidate
from stages.recipe.frames.choice import FrameLook

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = 8

MOST_TILES = 64
"""Pictures on a sheet, at most: 8 rows of them, of 192 pixels each, are 1,536 pixels wide."""

TILE = 192
"""Pixels along the longer side of a small picture."""

QUALITY = 80


def sheet_places(looks: Sequence[FrameLook]) -> list[int]:
    """The places of the candidates that come on the sheet, ascending: of as many equal runs as it
    has room for, the sharpest one each."""
    count = len(looks)
    tiles = min(count, MOST_TILES)
    edges = [round(number * count / tiles) for number in range(tiles + 1)]
    runs = (range(begin, end) for begin, end in pairwise(edges))
    return [max(run, key=lambda place: looks[place].sharpness) for run in runs]


def contact_sheet(candidates: Sequence[FrameCandidate]) -> bytes:
    """The candidates in rows, numbered from 1 on, as a JPEG."""
    import cv2
    import numpy as np

    tiles = [_tile(one, number) for number, one in enumerate(candidates, 1)]
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = min(COLUMNS, len(tiles))
    sheet = np.zeros((-(-len(tiles) // columns) * height, columns * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * height, column * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    _, encoded = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _tile(candidate: FrameCandidate, number: int) -> "NDArray[np.uint8]":
    """The small picture, with its number in a box in the corner."""
    import cv2
    import numpy as np

    picture: Any = cv2.imdecode(np.frombuffer(candidate.jpeg, np.uint8), cv2.IMREAD_COLOR)
    scale = TILE / max(picture.shape[:2])
    shape = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    small: Any = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
    text, font = str(number), cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, 0.6, 2)
    cv2.rectangle(small, (0, 0), (width + 6, height + 8), (0, 0, 0), -1)
    cv2.putText(small, text, (3, height + 4), font, 0.6, (255, 255, 255), 2)
    return np.asarray(small, np.uint8)
