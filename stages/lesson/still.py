"""A picture as a stretch of video that may be put after another one, without encoding each frame.

A frame in which nothing moves says "as before", in some bytes, and yet an encoder works as long for
it as for any other. So the first frames are encoded, and their packets stand for those that follow.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

KEYFRAMES = 10
"""Seconds from one keyframe to the next."""

PERIOD = 16
"""Frames after which a packet has the same number in it: H.264's frame_num, in four bits."""

SETTLED = 17
"""The first frame of those that are repeated: before, the picture may still get better."""

ENCODED = SETTLED + PERIOD

SMALL = 100
"""Bytes, at most, of a packet that says "as before"."""


def write_still(picture: "Image", frames: int, fps: int, quality: int, target: Path) -> None:
    """The picture as H.264 of so many frames. Equal settings give streams that may be put one after
    the other: no B-frames, so that each begins at its first."""
    import av

    group = fps * KEYFRAMES
    with av.open(str(target), "w", format="mp4") as container:
        options = {
            "preset": "veryfast",
            "tune": "stillimage",
            "crf": str(quality),
            "bf": "0",
            "g": str(group),
            "threads": "1",
        }
        stream: Any = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
        stream.time_base = Fraction(1, fps)
        encoded = _encoded(stream, picture, frames, fps, may_repeat=group > ENCODED)
        for number in range(frames):
            place = number if len(encoded) == frames else _place(number, frames, group)
            packet: Any = av.Packet(encoded[place][0])
            packet.pts = packet.dts = number
            packet.duration, packet.time_base = 1, Fraction(1, fps)
            packet.is_keyframe, packet.stream = encoded[place][1], stream
            container.mux_one(packet)


def _encoded(
    stream: Any, picture: "Image", frames: int, fps: int, *, may_repeat: bool
) -> list[tuple[bytes, bool]]:
    """The packets of all frames, and whether each is a keyframe; or only as many as the others are
    repetitions of."""
    import av
    import numpy as np

    shown = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
    shown = shown.reformat(format="yuv420p")
    made: list[tuple[bytes, bool]] = []
    looked = not may_repeat
    for number in range(frames):
        shown.pts, shown.time_base = number, Fraction(1, fps)
        made += [(bytes(one), one.is_keyframe) for one in stream.encode(shown)]
        if not looked and len(made) >= ENCODED:
            looked = True
            if _repeat([content for content, _ in made]):
                return made[:ENCODED]
    return made + [(bytes(one), one.is_keyframe) for one in stream.encode()]


def _repeat(packets: Sequence[bytes]) -> bool:
    """Whether nothing changes any more, and the packets' numbers do come again after PERIOD: then
    two are the same, unless the encoder writes another quality into each."""
    small = all(len(one) <= SMALL for one in packets[2:])
    later = range(2 + PERIOD, len(packets))
    return small and any(packets[at] == packets[at - PERIOD] for at in later)


def _place(number: int, frames: int, group: int) -> int:
    """The encoded packet that stands for this frame."""
    place = number % group
    if number and place == 0 and number == frames - 1:
        place = group  # no keyframe alone at the end: another one may follow
    return place if place < SETTLED else SETTLED + (place - SETTLED) % PERIOD
