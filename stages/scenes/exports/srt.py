"""SubRip: VIDEO.srt for each video in which something is said."""

from pathlib import Path

from stages.scenes.exports.cues import clock, cues_of
from stages.scenes.exports.reader import ScenesFolder


def write(scenes: ScenesFolder, folder: Path) -> None:
    """Write the subtitles of every video into `folder`."""
    for video in scenes.videos():
        cues = [
            f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n"
            + "".join(f"{line}\n" for line in cue.lines)
            for number, cue in enumerate(cues_of(video), 1)
        ]
        if cues:
            (folder / f"{video.video}.srt").write_text("\n".join(cues), encoding="utf-8")
            scenes.written += 1
