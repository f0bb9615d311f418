"""The single entry point for media files: FFmpeg reads this one file, and only as video or sound.

FFmpeg accepts more than media: lists that name other files (and so any file of this machine, or
themselves without end), descriptions of network streams, devices, scripts, single pictures. So this
module lists the formats that are allowed, not those that are forbidden.
"""

import io
import os
import re
import struct
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MOST_PIXELS = 100_000_000
"""Pixels of the largest frame decoded unless a setting says otherwise; 8K has 33 million."""

_VIDEO = """
mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi mpegts mpegtsraw mpeg flv live_flv kux asf asf_o rm ivr
ogg mxf mxf_opatom gxf lxf nut nsv nuv wtv dv ivf swf ty pva pmp gif apng jpegxl_anim yuv4mpegpipe
h261 h263 h264 hevc vvc evc av1 obu vc1 vc1test m4v mpegvideo cavsvideo avs2 avs3 dirac dnxhd apv
ipu mjpeg mjpeg_2000 mpjpeg smjpeg ingenient mxg
dhav ifv iv8 luodat hxvs lmlm4 msnwctcp nc vivo vividas r3d cine ser filmstrip simbiosis_imx
bink smk roq 4xm 3dostr anm argo_brp argo_cvg avs bethsoftvid bfi bmv c93 cdg cdxl dcstr derf dfa
dsicin dxa ea ea_cdata film_cpk flic frm gdv hnm idcin iff ipmovie iss jv lvf mgsts mm mods moflex
mtv mv mvi paf pdv psxstr rl2 rpl sdr2 sga siff smush thp tiertexseq tmv usm vmd wc3movie wsvqa xmv
yop
"""
"""FFmpeg's demuxers for containers and streams of video that read only their own file."""

_SOUND = """
aa aac aax ac3 ac4 ace acm act adp ads adx aea afc aiff aix alaw alp amr amrnb amrwb apac apc ape
apm aptx aptx_hd argo_asf ast au avr binka bonk brstm bfstm caf codec2 daud dfpwm dsf dss dts dtshd
eac3 epaf flac fsb fwse g722 g723_1 g726 g726le g728 g729 genh gsm hca hcom iamf ilbc ircam kvag
laf lc3 loas mca mlp mmf mp3 mpc mpc8 msf mtaf mulaw musx nistsphere oma osq pvf qcp qoa redspark
rka rsd rso s337m sbc scd sds sdx shn sln sol sox spdif svag svs tak truehd tta vag voc vpk vqf w64
wady wav wavarc wsaud wsd wv wve xa xmd xvag xwma
"""
"""Its demuxers for sound: sound is no video, but the search for streams reports that."""

DEMUXERS = ",".join((_VIDEO + _SOUND).split())

_MAGIC = (
    (b"#EXTM3U", "an HLS playlist: a list of other files"),
    (b"ffconcat version", "an ffconcat script: a list of other files"),
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"BM", "a picture (BMP)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"8BPS", "a picture (Photoshop)"),
    (b"v/1\x01", "a picture (OpenEXR)"),
    (b"DDS ", "a picture (DDS)"),
    (b"qoif", "a picture (QOI)"),
    (b"SIMPLE  =", "a picture (FITS)"),
    (b"\x01\xda", "a picture (SGI)"),
    (b"\x0a\x05\x01", "a picture (PCX)"),
    (b"\x00\x00\x01\x00", "a picture (ICO)"),
    (b"\xff\x0a", "a picture (JPEG XL)"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a picture (JPEG XL)"),
    (b"\xff\x4f\xff\x51", "a picture (JPEG 2000)"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a picture (JPEG 2000)"),
    (b"GIF8", "a picture (GIF)"),
    (b";FFMETADATA", "text"),
    (b"v=0", "a stream's description (SDP)"),
)

_HEAD = 4096
"""Bytes at the beginning of a file that identify its type."""


class NoMediaError(Exception):
    """The file must not be opened as media; the text names its type, such as "text"."""


def open_media(path: Path, max_pixels: int = MOST_PIXELS) -> "InputContainer":
    """Open a file of video or sound. No frame with more than `max_pixels` is decoded for that.

    Raises NoMediaError where FFmpeg takes it for anything else, FileNotFoundError, and
    av.FFmpegError where it cannot be read.
    """
    import av

    try:
        container = _open(path, max_pixels=str(_allocated(max_pixels)))
    except av.error.ArgumentError:
        # A format outside the list gives this error, and a damaged file may too.
        what = what_it_is(path)
        if what is None:
            raise
        raise NoMediaError(what) from None
    if all(0 < size <= max_pixels for size in _sizes(path, container)):
        return container
    container.close()
    # FFmpeg forgets a size that is over the limit, and has the largest one that an AV1 stream may
    # ever come to for its size. Where nothing is decoded it tells what the container states.
    with suppress(av.FFmpegError):
        container = _open(path, codec_whitelist="none")
        if any(size > max_pixels for size in _sizes(path, container)):
            return container
        container.close()
    return _open(path, max_pixels=str(max_pixels))


def open_for_copying(path: Path) -> "InputContainer":
    """Open a video of our own making, whose packets are copied. FFmpeg decodes nothing of it, which
    takes most of the time of opening one. Raises av.FFmpegError where it cannot be read."""
    return _open(path, codec_whitelist="none")


def open_sound(content: bytes) -> "InputContainer":
    """Open a file of sound that lies in memory: FLAC, MP3, Ogg or WAV. Raises av.FFmpegError for
    another."""
    import av

    return av.open(io.BytesIO(content), "r", options={"format_whitelist": "flac,mp3,ogg,wav"})


def _open(path: Path, **options: str) -> "InputContainer":
    import av

    # Absolute: in "a:b.mp4" FFmpeg would take the part before the colon for a protocol.
    return av.open(
        os.path.abspath(path),  # noqa: PTH100
        options={"protocol_whitelist": "file", "format_whitelist": DEMUXERS, **options},
        metadata_errors="replace",
    )


def _sizes(path: Path, container: "InputContainer") -> list[int]:
    """The frame size in pixels of each video with a known codec."""
    videos: Any = container.streams.video
    return [prod(frame_size(path, stream)) for stream in videos if stream.codec_context]


def limit_decoder(context: Any, max_pixels: int) -> None:
    """Have the decoder refuse frames larger than `max_pixels` and larger than the header says."""
    import av

    context.options = {"max_pixels": str(_allocated(max_pixels))}
    if context.codec.canonical_name != "av1":
        return
    # AV1 states in advance the largest size that its frames may have. Where none comes near it, as
    # with S-frames of SVT-AV1, the decoder would refuse the whole stream as it opens.
    try:
        context.open()
    except av.FFmpegError:
        context.options = {"max_pixels": str(2**31 - 1)}


def _allocated(max_pixels: int) -> int:
    """The limit for a decoder: it counts allocated pixels, which are more than the shown ones."""
    return min(2 * max_pixels + 2**20, 2**31 - 1)


def video_streams(container: "InputContainer") -> list["VideoStream"]:
    """The video streams, without cover pictures and chapter thumbnails."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & pictures]


def frame_size(path: Path, stream: "VideoStream") -> tuple[int, int]:
    """The width and height in the header; 0 where there are none, or the codec is unknown."""
    context: Any = stream.codec_context  # PyAV's types say that it is always there
    width, height = (context.width, context.height) if context else (0, 0)
    if not width and context and stream.container.format.name == "apng":
        with path.open("rb") as file:
            width, height = struct.unpack(">8x8xII", file.read(24).ljust(24, b"\0"))
    return width, height


def what_it_is(path: Path) -> str | None:
    """The type of a file that is no media, in words after "is"; None where it might be media."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        if head[12:16] == b"VP8X" and head[20:21] and head[20] & 2:
            return "an animated WebP, which cannot be read yet: convert it to GIF, APNG or MP4"
        return "a picture (WebP)"
    for magic, what in _MAGIC:
        if head.startswith(magic) or text.startswith(magic):
            return what
    if b"<MPD" in head:
        return "a DASH manifest: a list of other files"
    if b"CompositionPlaylist" in head:
        return "an IMF playlist: a list of other files"
    if b"<html" in head.lower():
        return "a web page"
    if b"<svg" in head:
        return "a picture (SVG)"
    if re.match(rb"P[1-7FfHh]\s", head):
        return "a picture (PNM)"
    printable = sum(byte >= 32 or byte in b"\t\n\r\x1b\f" for byte in head)
    return "text" if head and printable >= 0.98 * len(head) else None
