"""WebVTT: VIDEO.vtt for each video in which something is said."""

from pathlib import Path

from stages.scenes.exports.cues import clock, cues_of
from stages.scenes.exports.reader import ScenesFolder

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def write(scenes: ScenesFolder, folder: Path) -> None:
    """Write the subtitles of every video into `folder`."""
    for video in scenes.videos():
        cues = [
            f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n"
            + "".join(f"{line.translate(_ESCAPES)}\n" for line in cue.lines)
            for cue in cues_of(video)
        ]
        if cues:
            text = "".join(["WEBVTT\n", *cues])
            (folder / f"{video.video}.vtt").write_text(text, encoding="utf-8")
            scenes.written += 1
