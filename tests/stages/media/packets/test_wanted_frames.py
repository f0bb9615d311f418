"""A stretch decoded alone: the frames that decoding all of the video gives, to the pixel."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stages.media.damage import Damage
from stages.media.packets.scan import scan_video
from stages.media.packets.wanted_frames import decode_stretch, decode_whole
from stages.media.sampling import Sampling, at_rate
from stages.media.video import open_video
from tests.stages.clips import make_clip, moving_picture

Frames = list[tuple[Fraction, bytes]]


def alone(path: Path, sampling: Sampling) -> Frames:
    return [
        (time, frame.to_ndarray(format="rgb24").tobytes())
        for frame, time, _ in decode_stretch(path, sampling)
    ]


def of_all(path: Path, sampling: Sampling) -> Frames:
    damage = Damage()
    table = scan_video(path, damage)
    with open_video(path) as video:
        return [
            (time, np.asarray(frame.to_ndarray(format="rgb24")).tobytes())
            for frame, time, _ in decode_whole(video, table, sampling, damage)
        ]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    times = range(0, 16_000, 40)
    options = {"g": "50", "bf": "2"}
    mp4 = make_clip(
        folder / "a.mp4",
        times,
        options=options,
        size=(160, 96),
        rate=25,
        picture=moving_picture,
    )
    damaged = folder / "damaged.mp4"
    content = bytearray(mp4.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\xff" * 400
    damaged.write_bytes(content)
    return {"sound": mp4, "damaged": damaged}


@pytest.mark.parametrize("which", ["sound", "damaged"])
@pytest.mark.parametrize(("start", "end"), [(0, 2), (5, 9), (11, 13), (14, 16)])
def test_a_stretch_is_that_of_the_whole(
    videos: dict[str, Path], which: str, start: int, end: int
) -> None:
    sampling = at_rate(Fraction(4), Fraction(start), Fraction(end), None)
    found = alone(videos[which], sampling)
    assert found == of_all(videos[which], sampling)
    assert found
