"""Decodes the wanted frames of a video: only the packets that they need, where that is possible."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.media.clocks import OutOfStepError
from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS
from stages.media.packets.scan import scan_video
from stages.media.packets.segments import DamagedError, SegmentDecoder, SegmentError
from stages.media.packets.table import PacketFlag, PacketTable, Segment
from stages.media.sampling import Sampler, Sampling, choose
from stages.media.video import Video, decode_frames, open_video

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Picked(NamedTuple):
    """A wanted frame, the second at which it is shown, and whether it is a keyframe."""

    frame: "VideoFrame"
    time: Fraction
    keyframe: bool


def choose_frames(table: PacketTable, sampling: Sampling) -> dict[int, bool]:
    """The wanted frames, by their packets: whether each is a keyframe, by its time in ticks.

    Raises SegmentError where the packets do not tell the frames' times.
    """
    if not table.ordered:
        raise SegmentError("the packets do not tell when the frames are shown")
    packets = table.shown()
    if sampling.keyframes_only:
        packets = [packet for packet in packets if table.flags[packet] & PacketFlag.KEYFRAME]
    times = [table.times[packet] for packet in packets]
    keyframes = [bool(table.flags[packet] & PacketFlag.KEYFRAME) for packet in packets]
    seconds = [table.seconds(time) for time in times]
    chosen = choose(sampling, seconds, keyframes, table.end())
    return {times[index]: keyframes[index] for index in chosen}


def find_segments(table: PacketTable, wanted: Mapping[int, bool]) -> list[Segment]:
    """The packets to decode for these frames, in parts that can be decoded independently.

    Raises SegmentError where the result might differ from that of `decode_whole`.
    """
    actions = table.plan(wanted)
    if actions is None:
        raise SegmentError("this stream has to be decoded whole")
    segments = table.segments(actions, wanted)
    if [time for segment in segments for time in segment.wanted] != list(wanted):
        raise SegmentError("the frames come in another order")
    return segments


def decode_whole(
    video: Video, table: PacketTable, sampling: Sampling, damage: Damage
) -> Iterator[Picked]:
    """All wanted frames that decode. Failures are recorded in `damage`.

    Raises OutOfStepError where the packets do not tell the frames' times after all.
    """
    sampler = Sampler(sampling)
    marked = table.keyframe_times() if table.ordered and table.keyframes_told else None
    if table.seek is not None:
        video.seek(table.seek)
    skip = table.first_needed(sampling.start)
    clock = table.clock(damage, from_beginning=not skip and table.seek is None)
    for frame, time, until in decode_frames(video, damage, clock, skip):
        keyframe = _is_keyframe(frame) if marked is None else frame.pts in marked
        if sampler.wants(time, until, keyframe):
            yield Picked(frame, time, keyframe)
        if sampler.finished:
            return


def _is_keyframe(frame: "VideoFrame") -> bool:
    """Whether the decoder takes the frame for a keyframe; used where the container does not say."""
    from av.video.frame import PictureType

    return frame.key_frame or frame.pict_type == PictureType.I


class Decoded(NamedTuple):
    """A wanted frame, the second at which it is shown, and its open video."""

    frame: "VideoFrame"
    time: Fraction
    video: Video


def decode_stretch(
    path: Path, sampling: Sampling, max_pixels: int = MOST_PIXELS
) -> Iterator[Decoded]:
    """The wanted frames of a stretch of a video that decode, in order: no other packets are read
    than those of the stretch where the file can be sought in.

    `sampling` has the stretch's `start` and `end`. Nothing is said of damage: who decodes all of
    the video has done so. Raises Permanent and Transient as `open_video` and `Video.decode` do.
    """
    damage = Damage()
    table = scan_video(path, damage, sampling.start, sampling.end, max_pixels=max_pixels)
    after = Fraction(-1)
    try:
        for one in _by_segments(path, table, sampling, max_pixels):
            after = one.time
            yield one
        return
    except SegmentError as error:
        # What came until now is what decoding everything gives, to the pixel.
        is_damaged = isinstance(error, DamagedError)
    if table.seek is not None:
        table = scan_video(
            path, damage, sampling.start, sampling.end, max_pixels=max_pixels, seek=False
        )
    table.intact = table.intact and not is_damaged
    try:
        for one in _whole(path, table, sampling, max_pixels):
            if one.time > after:
                after = one.time
                yield one
    except OutOfStepError:
        table.learn_times(path)
        for one in _whole(path, table, sampling, max_pixels):
            if one.time > after:
                yield one


def _by_segments(
    path: Path, table: PacketTable, sampling: Sampling, max_pixels: int
) -> Iterator[Decoded]:
    """Raises SegmentError where the result might differ from that of `decode_whole`."""
    wanted = choose_frames(table, sampling)
    segments = find_segments(table, wanted)
    with open_video(path, max_pixels=max_pixels) as video:
        decoder = SegmentDecoder(video, table, table.only_keyframes(wanted))
        for segment in segments:
            for frame, ticks in decoder.frames(segment) if segment.wanted else ():
                yield Decoded(frame, table.seconds(ticks), video)


def _whole(
    path: Path, table: PacketTable, sampling: Sampling, max_pixels: int
) -> Iterator[Decoded]:
    with open_video(path, max_pixels=max_pixels) as video:
        for picked in decode_whole(video, table, sampling, Damage()):
            yield Decoded(picked.frame, picked.time, video)
