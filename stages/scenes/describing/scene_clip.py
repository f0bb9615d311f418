"""A scene as a clip, for a model that watches video."""

import hashlib
from pathlib import Path

from stages.media.clips.copied import NotCopyableError, copy_stretch
from stages.media.sampling import exact_seconds
from stages.vision import gemini_files
from stages.vision.video_clip import VideoClip

MOST_BYTES = 14_000_000
"""Bytes of a clip within a request, which every server takes: 20 MB, and a third is added to the
clip where it becomes text. Several are in memory at once; larger ones stay on the disk."""

MIME = {".mp4": "video/mp4", ".webm": "video/webm"}
"""What the model can read."""


class NoClip(Exception):
    """There is none to send. The message is one line, without the video's name."""


def clip_of_scene(
    path: Path, start: float, end: float, fps: float, folder: Path, why_not: str = ""
) -> VideoClip:
    """The video's packets from the keyframe before second `start` to second `end`, as they are.

    One that is too large for a request is a file in `folder`; `why_not` says why none is uploaded,
    if that is so. Raises NoClip where the packets make up no clip that the model reads, or one that
    is too large; and as `copy_stretch` does.
    """
    try:
        copied = copy_stretch(path, exact_seconds(start), exact_seconds(end), folder)
    except NotCopyableError as error:
        raise NoClip(f"it cannot be copied out of the video: {error}") from None
    file = folder / copied.file
    mime, size = MIME.get(file.suffix), file.stat().st_size
    if mime is None:
        raise NoClip("its codecs fit neither MP4 nor WebM")
    large = size > MOST_BYTES
    most = MOST_BYTES if why_not else gemini_files.MOST_BYTES
    if size > most:
        raise NoClip(
            f"it has {size / 1e6:.1f} MB from its keyframe on, over the {most / 1e6:,.0f} MB of "
            f"{f'a request, and {why_not}' if why_not else 'an upload'}; shorter scenes "
            f"(stages.scenes.max_length) or a smaller video (stages.download.size) may fit"
        )
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    begin = float(copied.start)
    return VideoClip(
        mime,
        max(0.0, start - begin),
        end - begin,
        fps,
        digest,
        size,
        content=None if large else file.read_bytes(),
        file=file if large else None,
    )
