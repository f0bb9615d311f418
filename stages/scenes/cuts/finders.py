"""What finds the cuts of a video, frame by frame: a detector of PySceneDetect's, or a network."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from stages.media.damage import Damage
from stages.media.packets.table import PacketTable
from stages.media.video import Video, decode_frames
from stages.models.transnet import TransNet
from stages.scenes.cuts.detection import CutDetector
from stages.scenes.cuts.learned import THRESHOLD, Shrinker, begins_shot

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class CutFinder(Protocol):
    """Finds the cuts of one video, frame by frame."""

    def cuts(self, time: Fraction, frame: "VideoFrame") -> list[Fraction]:
        """The seconds of the cuts that the next frame, shown at `time`, tells of."""

    def last_cuts(self) -> list[Fraction]:
        """Those that are known only once the video has ended."""


class ByPictures:
    """One of PySceneDetect's, which looks at each frame of one video as it comes."""

    def __init__(self, detector: CutDetector) -> None:
        from av.video.reformatter import VideoReformatter

        self._detector = detector
        # One for all frames: a scaler of each frame's own would start threads anew, and keep them.
        self._scaler = VideoReformatter()

    def cuts(self, time: Fraction, frame: "VideoFrame") -> list[Fraction]:
        import numpy as np

        picture = self._scaler.reformat(frame, format="bgr24").to_ndarray()
        return self._detector.cuts(time, np.asarray(picture, np.uint8))

    def last_cuts(self) -> list[Fraction]:
        return self._detector.last_cuts()


class Ahead:
    """One that has seen what comes after each frame, of which it says whether a shot begins."""

    def __init__(self, begins: Iterator[bool]) -> None:
        self._begins = begins

    def cuts(self, time: Fraction, frame: "VideoFrame") -> list[Fraction]:
        return [time] if next(self._begins, False) else []

    def last_cuts(self) -> list[Fraction]:
        return []


def by_network(
    network: TransNet, threshold: float | None, ahead: Video, table: PacketTable
) -> CutFinder:
    """The network, which judges a frame once it has seen the three seconds after it.

    `ahead` is the video, opened for this alone, of which `table` has the times. A decoder of its
    own runs ahead: to hold back that many frames in full size would take a gigabyte.
    """
    unheard = Damage()
    shrinker = Shrinker()
    frames = decode_frames(ahead, unheard, table.clock(unheard, from_beginning=True))
    pictures = (shrinker.shrink(one.frame) for one in frames)
    return Ahead(
        begins_shot(pictures, network.chances, THRESHOLD if threshold is None else threshold)
    )
