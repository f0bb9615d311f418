"""What is opened as media, and what must not be, whatever its name says."""

import ast
import io
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import stages
from engine import Permanent
from stages.fetch.probe import probe
from stages.media import media_file
from stages.media.media_file import DEMUXERS
from stages.media.video import open_video
from tests.stages.clips import make_clip

OPENING_MORE = {
    *(
        "alias_pix",
        "brender_pix",
        "concat",
        "concatf",
        "dash",
        "ffmetadata",
        "hls",
        "image2",
        "image2pipe",
    ),
    *("imf", "lavfi", "mlv", "rtp", "rtsp", "sap", "sbg", "sdp", "tty", "v4l2", "vobsub"),
    *("video4linux2", "webm_dash_manifest", "x11grab", "fbdev", "kmsgrab", "alsa", "oss"),
}
"""FFmpeg's demuxers that read other files, devices, the network, scripts or single pictures."""


@pytest.mark.parametrize("name", sorted(OPENING_MORE))
def test_a_demuxer_that_reads_more_is_not_allowed(name: str) -> None:
    assert name not in DEMUXERS.split(",")


def test_only_demuxers_that_read_their_own_file_are_allowed() -> None:
    allowed = DEMUXERS.split(",")

    assert len(set(allowed)) == len(allowed)
    assert not [name for name in allowed if name.endswith("_pipe")]
    assert set(allowed) - av.formats_available <= {"mp4", "m4a", "3gp", "3g2", "mj2"}


def picture(form: str, **more: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form, **more)
    return buffer.getvalue()


def animation(form: str) -> bytes:
    return picture(form, save_all=True, append_images=[Image.new("RGB", (64, 48), "red")])


POSING = {
    "itself": (b"ffconcat version 1.0\nfile video.mp4\n", "a list of other files"),
    "another file": (b"ffconcat version 1.0\nfile clip.mkv\n", "a list of other files"),
    "with a mark before it": (b"\xef\xbb\xbfffconcat version 1.0\nfile clip.mkv\n", "list|text"),
    "HLS": (b"#EXTM3U\n#EXTINF:1,\nclip.mkv\n#EXT-X-ENDLIST\n", "a list of other files"),
    "DASH": (b'<?xml version="1.0"?>\n<MPD><BaseURL>clip.mkv</BaseURL></MPD>', "list of other"),
    "SDP": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n", "description"),
    "metadata": (b";FFMETADATA1\ntitle=a\n", "text"),
    "IMF": (b'<?xml version="1.0"?>\n<CompositionPlaylist xmlns="x">', "a list of other files"),
    "ANSI art": (b"\x1b[1;31m" + b"Sign in" * 9 + b"\x1b[0m\r\n", "text"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', r"a picture \(SVG\)"),
    "VobSub": (b"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n", "text"),
    "a page": (b"<!doctype html>\n<HTML><body>Sign in</body></HTML>", "a web page"),
    "WebP": (picture("WEBP"), r"a picture \(WebP\)"),
    "animated WebP": (animation("WEBP"), "animated WebP.* convert it to GIF, APNG or MP4"),
    "PNG": (picture("PNG"), r"a picture \(PNG\)"),
    "JPEG": (picture("JPEG"), r"a picture \(JPEG\)"),
    "BMP": (picture("BMP"), r"a picture \(BMP\)"),
    "TIFF": (picture("TIFF"), r"a picture \(TIFF\)"),
    "ICO": (picture("ICO"), r"a picture \(ICO\)"),
    "PPM": (picture("PPM"), r"a picture \(PNM\)"),
}


@pytest.mark.parametrize("what", POSING)
@pytest.mark.parametrize("name", ["video.mp4", "video.ts", "video.jpg", "video.m3u8", "v%02d.png"])
def test_what_poses_as_a_video_is_told_in_words(tmp_path: Path, what: str, name: str) -> None:
    make_clip(tmp_path / "clip.mkv", [0, 40])
    content, says = POSING[what]
    path = tmp_path / name
    path.write_bytes(content.replace(b"video.mp4", name.encode()))

    with pytest.raises(Permanent, match=f"^NAME: is no video but .*(?:{says})") as caught:
        probe(path, "NAME")

    assert caught.value.kind == "not_video"
    with pytest.raises(Permanent) as caught:
        open_video(path)
    assert caught.value.kind in ("no_video", "damaged")


def test_a_list_of_itself_costs_nothing(tmp_path: Path) -> None:
    """In a process of its own, as FFmpeg would end it: few descriptors and a small stack."""
    path = tmp_path / "video.mp4"
    path.write_text("ffconcat version 1.0\nfile video.mp4\n")
    program = (
        "import sys; from pathlib import Path; from stages.media.media_file import *\n"
        "try: open_media(Path(sys.argv[1]))\n"
        "except NoMediaError as error: print(error)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    run = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")
    assert "ffconcat" in run.stdout


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_animated_pictures_that_can_be_decoded_are_videos(tmp_path: Path, form: str) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(animation(form))

    assert (probe(path, "NAME").width, probe(path, "NAME").height) == (64, 48)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"), (".mkv", "ffv1"), (".webm", "libvpx"), (".avi", "mpeg4"),
        (".ts", "libx264"), (".mpg", "mpeg2video"), (".flv", "flv"), (".asf", "wmv2"),
        (".nut", "ffv1"), (".wtv", "mpeg2video"), (".mxf", "mpeg2video"), (".ivf", "libvpx"),
        (".y4m", "wrapped_avframe"), (".h264", "libx264"), (".m2v", "mpeg2video"),
        (".gif", "gif"), (".apng", "apng"), (".mjpeg", "mjpeg"), (".obu", "libsvtav1"),
    ],
)  # fmt: skip
def test_containers_of_video_open_whatever_their_name(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    form = {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    base = Fraction(1, 25)
    clip = make_clip(
        tmp_path / f"clip{suffix}",
        range(8),
        codec=codec,
        pixel_format=form,
        time_base=base,
        rate=25,
    )
    # A stream of JPEGs is told from a picture by its name alone.
    named = clip if suffix == ".mjpeg" else clip.rename(tmp_path / "video.mp4")

    assert (probe(named, "NAME").width, probe(named, "NAME").height) == (64, 48)


def test_a_name_is_never_taken_for_a_protocol(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4", [0, 40]).rename(tmp_path / "concat:clip.mp4")

    assert probe(Path("concat:clip.mp4"), "NAME").width == 64


def test_a_codec_without_a_decoder_has_no_size(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [0, 40])
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"evc1"))

    media = probe(clip, "NAME")

    assert (media.width, media.height) == (0, 0)
    with pytest.raises(Permanent) as caught:
        open_video(clip)
    assert caught.value.kind == "undecodable_codec"


def reads_with_pyav(file: Path) -> bool:
    """Whether a source file opens a file for reading with PyAV itself."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "av.open":
            given = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "mode")]
            if not any(isinstance(mode, ast.Constant) and mode.value == "w" for mode in given):
                return True
    return False


def test_there_is_one_door_to_media() -> None:
    files = Path(stages.__path__[0]).rglob("*.py")

    assert [file for file in files if reads_with_pyav(file)] == [Path(media_file.__file__)]
