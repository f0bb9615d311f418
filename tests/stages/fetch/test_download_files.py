"""What counts as a video, fetched or on disk, and files that are linked rather than fetched."""

import os
from pathlib import Path

import av
import pytest

from engine import Permanent
from stages.demo.server import File, MediaServer
from tests.stages.downloading import attempt, make_clip, make_sound, opened, read


@pytest.mark.parametrize("kind", ["served", "local"])
def test_what_is_no_video_fails_for_good(tmp_path: Path, kind: str) -> None:
    sound = make_sound(tmp_path / "sound.m4a")
    song = make_sound(tmp_path / "song.mp4", cover=True)
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 1000)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    listing = tmp_path / "list.mp4"  # FFmpeg would open the file that it names
    part = make_clip(tmp_path / "part.ts")
    listing.write_text(f"#EXTM3U\n#EXTINF:1,\n{part}\n#EXT-X-ENDLIST\n")
    picture = tmp_path / "picture.png"
    with av.open(str(make_clip(tmp_path / "one.mp4"))) as container:
        next(container.decode(video=0)).to_image().save(picture)
    files = {
        sound: "no_video",
        song: "no_video",
        text: "not_video",
        empty: "not_video",
        listing: "not_video",
    }
    files[picture] = "not_video"
    with (
        MediaServer({f"/{file.name}": File(file, "video/mp4") for file in files}) as server,
        opened(tmp_path) as stage,
    ):
        for file, expected in files.items():
            source = server.url(f"/{file.name}") if kind == "served" else str(file)
            with pytest.raises(Permanent) as caught:
                attempt(stage, source)
            assert caught.value.kind == expected, file
            assert str(caught.value).startswith(source)


def test_a_local_file_is_linked_and_not_copied(tmp_path: Path) -> None:
    named = make_clip(tmp_path / "clip.mp4", seconds=2).rename(tmp_path / "my clip.MP4")
    with opened(tmp_path / "work") as stage:
        for source in (str(named), named.as_uri()):
            out, produced = attempt(stage, source)
            assert produced is None
            assert (out / "video.mp4").readlink() == named
            info = read(out)
            assert (info["title"], info["extractor"]) == ("my clip", "local")
            assert (info["width"], info["height"], info["duration"]) == (64, 48, 2.0)


def test_local_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with opened(tmp_path / "work") as stage:
        for name, reason in (
            ("missing.mp4", "No such file"),
            ("", "is a folder"),
            ("pipe.mp4", "no ordinary file"),
        ):
            with pytest.raises(Permanent, match=reason) as caught:
                attempt(stage, str(tmp_path / name))
            assert caught.value.kind == "unreadable"
