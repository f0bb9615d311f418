"""Stills: every frame shows the picture, whether it was encoded or stands for one that was."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from stages.lesson.still import write_still


def grainy(size: tuple[int, int]) -> Image.Image:
    grain = np.random.default_rng(0).integers(0, 200, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(grain)


def shown(film: Path) -> list["np.ndarray[Any, np.dtype[np.uint8]]"]:
    """The frames as they are decoded; a damaged stream fails the test."""
    with av.open(str(film), options={"err_detect": "explode"}) as made:
        return [frame.to_ndarray(format="gray") for frame in made.decode(video=0)]


@pytest.mark.parametrize(
    ("frames", "fps"), [(1, 25), (33, 25), (34, 25), (251, 25), (505, 25), (45, 3), (333, 60)]
)
def test_every_frame_shows_the_picture(tmp_path: Path, frames: int, fps: int) -> None:
    picture = grainy((96, 64))
    write_still(picture, frames, fps, 20, tmp_path / "a.mp4")
    decoded = shown(tmp_path / "a.mp4")
    assert len(decoded) == frames
    true = np.asarray(picture.convert("L")).astype(int)
    errors = [float(np.abs(one.astype(int) - true).mean()) for one in decoded]
    assert max(errors) - min(errors) < 2, "none is worse than another"
    with av.open(str(tmp_path / "a.mp4")) as made:
        keys = [p.pts for p in made.demux(video=0) if p.size and p.is_keyframe]
        assert made.streams.video[0].average_rate == fps
        assert made.streams.video[0].frames == frames
    group = fps * 10
    alone_at_the_end = frames > 1 and frames % group == 1
    assert len(keys) == -(-frames // group) - alone_at_the_end


def test_most_frames_are_not_encoded(tmp_path: Path) -> None:
    """What stands for others is copied from them, byte for byte."""
    write_still(grainy((96, 64)), 200, 25, 20, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as made:
        packets = [bytes(one) for one in made.demux(video=0) if one.size]
    assert packets[17:33] * 10 == packets[17:177]
