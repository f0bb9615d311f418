"""The frames of a video that the extract stage wants."""

from stages.crawl.extract_settings import ExtractSettings
from stages.media.packets.table import PacketTable
from stages.media.sampling import (
    Sampling,
    at_rate,
    evenly_spread,
    every_frame,
    exact_seconds,
)


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
