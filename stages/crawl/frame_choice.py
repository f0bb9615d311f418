"""The frames of a video that the extract stage wants, and the packets to decode for them."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from stages.crawl.extract_settings import ExtractSettings
from stages.media.damage import Damage
from stages.media.packets.segments import SegmentError
from stages.media.packets.table import PacketFlag, PacketTable, Segment
from stages.media.sampling import (
    Sampler,
    Sampling,
    at_rate,
    choose,
    evenly_spread,
    every_frame,
    exact_seconds,
)
from stages.media.video import Video, decode_frames

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def sampling_for(settings: ExtractSettings, table: PacketTable) -> Sampling:
    """The sampling for these settings and the video with these packets."""
    start = exact_seconds(settings.start)
    end = None if settings.end is None else exact_seconds(settings.end)
    if settings.sample == "fps":
        return at_rate(exact_seconds(settings.fps), start, end, settings.max_frames)
    if settings.sample == "count":
        last = table.end() if end is None else min(end, table.end())
        in_the_way = table.longest_shown() * settings.count > last - start
        times = table.shown_times() if in_the_way else ()
        return evenly_spread(settings.count, start, last, settings.max_frames, times)
    return every_frame(start, end, settings.sample == "keyframes", settings.max_frames)


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
