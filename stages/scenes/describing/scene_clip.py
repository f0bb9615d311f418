"""A scene as a clip, for a model that watches video."""

import tempfile
from pathlib import Path

from stages.media.clips.copied import NotCopyableError, copy_stretch
from stages.media.sampling import exact_seconds
from stages.vision.video_clip import VideoClip

MOST_BYTES = 14_000_000
"""A request may have 20 MB, and a third is added to the clip where it becomes text."""

MIME = {".mp4": "video/mp4", ".webm": "video/webm"}
"""What the model can read."""


class NoClip(Exception):
    """There is none to send. The message is one line, without the video's name."""


def clip_of_scene(path: Path, start: float, end: float, fps: float, scratch: Path) -> VideoClip:
    """The video's packets from the keyframe before second `start` to second `end`, as they are.

    `scratch` is a folder for the time being. Raises NoClip where the packets make up no clip that
    the model reads, or a larger one than a request may have; and as `copy_stretch` does.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            copied = copy_stretch(path, exact_seconds(start), exact_seconds(end), Path(folder))
        except NotCopyableError as error:
            raise NoClip(f"it cannot be copied out of the video: {error}") from None
        file = Path(folder) / copied.file
        mime, size = MIME.get(file.suffix), file.stat().st_size
        if mime is None:
            raise NoClip("its codecs fit neither MP4 nor WebM")
        if size > MOST_BYTES:
            raise NoClip(
                f"it has {size / 1e6:.1f} MB from its keyframe on, over the {MOST_BYTES / 1e6:.0f} "
                f"MB of a request; shorter scenes (stages.scenes.max_length) or a smaller video "
                f"(stages.download.size) may fit"
            )
        content = file.read_bytes()
    begin = float(copied.start)
    return VideoClip(content, mime, max(0.0, start - begin), end - begin, fps)
