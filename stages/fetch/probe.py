"""Checks a file: whether it is a video, its size and its length."""

from dataclasses import dataclass
from pathlib import Path

from engine import Permanent
from stages.media.media_file import NoMediaError, frame_size, open_media, video_streams, what_it_is


@dataclass(frozen=True, slots=True)
class Media:
    """The facts about a file: width and height in pixels, 0 where FFmpeg has no decoder; seconds
    where known."""

    width: int
    height: int
    duration: float | None


def probe(file: Path, name: str) -> Media:
    """Open `file` and find its video. Raises Permanent, with `name` in the reason: kind "not_video"
    where it does not open, "no_video" where it holds only sound or a cover picture."""
    import av

    if file.stat().st_size == 0:
        raise Permanent(f"{name}: is an empty file", kind="not_video")
    try:
        with open_media(file) as container:
            for stream in video_streams(container):
                seconds = container.duration and container.duration / av.time_base
                width, height = frame_size(file, stream)
                return Media(width, height, seconds)
            sound = "sound and no video" if container.streams.audio else "no video"
            raise Permanent(f"{name}: holds {sound}", kind="no_video")
    except NoMediaError as error:
        raise Permanent(f"{name}: is no video but {error}", kind="not_video") from None
    except av.FFmpegError as error:
        what = what_it_is(file)
        problem = (
            f"is no video but {what}" if what else f"does not open as a video: {error.strerror}"
        )
        raise Permanent(f"{name}: {problem}", kind="not_video") from error
