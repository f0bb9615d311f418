"""From a decoded frame to the upright picture that a player shows, and to a JPEG file."""

from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engine import Permanent
from stages.media.pictures import tone_mapping

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from av.video.reformatter import Colorspace

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_MOST_LONG = 65_500
"""The most pixels along the longer side of a JPEG."""

# Numbers of ITU-T H.273 for the matrix that made luma and chroma of red, green and blue.
_UNSAID = 2
_RESERVED = 3
_YCGCO = 8
_BT2020_CONSTANT = 10  # differs from BT.2020 without constant luminance in saturated colours alone
_BY_PRIMARIES = 12
_UNKNOWN_TO_FFMPEG = {
    11: "SMPTE ST 2085",
    13: "chromaticity-derived with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}

_ABORTING = {"yaf32le", "yaf32be"}
"""Pixel formats for which FFmpeg's scaler aborts the process."""


class UnrenderableError(Exception):
    """A frame cannot be made into a picture; the text names its pixel format."""


def not_rendered(path: Path, error: UnrenderableError) -> Permanent:
    """The end of a video with such a frame."""
    return Permanent(
        f"{path.name} has pixels that no picture can be made of ({error}): convert it to"
        " yuv420p with BT.709",
        kind="unsupported_pixels",
    )


class Crop(NamedTuple):
    """Pixels on each side of a decoded frame that the container excludes from display."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


class Renderer:
    """Turns decoded frames into upright pictures with square pixels, no longer than `size` pixels.

    `aspect` is the width of the stream's pixels over their height. `size` None or 0 leaves the
    length as it is; no picture is ever enlarged. Not for two threads at once.
    """

    def __init__(
        self, size: int | None, aspect: Fraction | None = None, crop: Crop | None = None
    ) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._size = size
        self._aspect = aspect or Fraction(1)
        self._crop = crop or Crop()
        self._reformatter = VideoReformatter()
        # Bicubic as the ffmpeg command does it; the flags make it the same on every processor.
        self._method = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        self.tone_mapped: set[str] = set()
        """The kinds of high dynamic range in the frames so far: "pq", "hlg"."""

    def render(self, frame: "VideoFrame", aspect: Fraction | None = None) -> "Pixels":
        """The picture that a player shows, as blue, green, red: (height, width, 3), 0 to 255.

        `aspect` is that of this frame's pixels, None for the stream's. Raises UnrenderableError.
        """
        import av
        import numpy as np

        name, matrix = frame.format.name, int(frame.colorspace)
        if name in _ABORTING:
            raise UnrenderableError(name)
        if matrix in _UNKNOWN_TO_FFMPEG and not frame.format.is_rgb:
            raise UnrenderableError(f"{name}, {_UNKNOWN_TO_FFMPEG[matrix]}")
        try:
            pixels = self._converted(frame, aspect or self._aspect)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, MemoryError):
                raise
            raise UnrenderableError(f"{name}, matrix {matrix}") from error
        if pixels.shape[2] == 4:  # transparent parts show the player's black background
            opacity = pixels[:, :, 3:].astype(np.uint16)
            pixels = ((pixels[:, :, :3] * opacity + 127) // 255).astype(np.uint8)
        return _turned_upright(pixels, frame)

    def _converted(self, frame: "VideoFrame", aspect: Fraction) -> "Pixels":
        """The frame scaled and cropped, as blue, green, red and, if it has it, opacity."""
        left, top, right, bottom = self._crop
        width, height = frame.width - left - right, frame.height - top - bottom
        if min(left, top, right, bottom) < 0 or width < 1 or height < 1:
            left, top, width, height = 0, 0, frame.width, frame.height
        shown = picture_size(width, height, aspect, self._size)
        across, down = Fraction(shown[0], width), Fraction(shown[1], height)
        whole = (
            max(shown[0], round(frame.width * across)),
            max(shown[1], round(frame.height * down)),
        )
        x = min(round(left * across), whole[0] - shown[0])
        y = min(round(top * down), whole[1] - shown[1])
        pixels = self._scaled(frame, *whole)
        return pixels if whole == shown else pixels[y : y + shown[1], x : x + shown[0]]

    def _scaled(self, frame: "VideoFrame", width: int, height: int) -> "Pixels":
        transfer = int(frame.color_trc)
        has_alpha = any(component.is_alpha for component in frame.format.components)
        if transfer in tone_mapping.NAMES:
            self.tone_mapped.add(tone_mapping.NAMES[transfer])
            deep: Any = self._reformat(frame, width, height, "rgba64le" if has_alpha else "rgb48le")
            pixels = tone_mapping.map_to_sdr(deep[:, :, :3], transfer, int(frame.color_primaries))[
                :, :, ::-1
            ]
            return _with_opacity(pixels, deep[:, :, 3] >> 8) if has_alpha else pixels
        if (
            frame.colorspace == _YCGCO
            and not frame.format.is_rgb
            and len(frame.format.components) > 2
        ):
            planes = self._reformat(frame, width, height, "yuv444p")
            return _from_ycgco(planes, full_range=frame.color_range == 2)
        return self._reformat(frame, width, height, "bgra" if has_alpha else "bgr24")

    def _reformat(self, frame: "VideoFrame", width: int, height: int, form: str) -> "Pixels":
        matrix = _matrix(frame)
        keeps_matrix = form.startswith("yuv")
        pixels: Any = self._reformatter.reformat(
            frame,
            width,
            height,
            form,
            src_colorspace=matrix,
            dst_colorspace=matrix if keeps_matrix else None,
            interpolation=self._method,
            threads=1,
        ).to_ndarray()
        return cast("Pixels", pixels)


def _matrix(frame: "VideoFrame") -> "Colorspace | None":
    """The matrix that made the frame, in the terms of FFmpeg's scaler; None
    to use the frame's own."""
    from av.video.reformatter import Colorspace

    said = int(frame.colorspace)
    if frame.format.is_rgb:
        return None
    if said == _BT2020_CONSTANT:
        return Colorspace.BT2020
    if said == _YCGCO:
        return Colorspace.ITU709  # to be left as it is
    if said == _BY_PRIMARIES:
        return Colorspace.BT2020 if frame.color_primaries == 9 else Colorspace.ITU709
    if said not in (_UNSAID, _RESERVED) and said <= max(_UNKNOWN_TO_FFMPEG):
        return None
    if frame.color_trc in tone_mapping.NAMES:
        return Colorspace.BT2020
    # A frame that does not say which matrix made it: players take BT.709 from HD upwards.
    if frame.width >= 1280 or frame.height > 576:
        return Colorspace.ITU709
    return None if said == _UNSAID else Colorspace.ITU601


def _from_ycgco(planes: "Pixels", full_range: bool) -> "Pixels":
    """Planes of luma, green and orange difference, (3, height, width), as blue, green, red.

    By ITU-T H.273, equations 58 to 61.
    """
    import numpy as np

    luma, green, orange = (plane.astype(np.float32) for plane in planes)
    if full_range:
        green, orange = green - 128, orange - 128
    else:
        luma = (luma - 16) * 255 / 219
        green, orange = (green - 128) * 255 / 224, (orange - 128) * 255 / 224
    rest = luma - green
    shown = np.stack([rest - orange, luma + green, rest + orange], axis=2)
    pixels: Pixels = np.rint(np.clip(shown, 0, 255)).astype(np.uint8)
    return pixels


def _with_opacity(pixels: "Pixels", opacity: Any) -> "Pixels":
    import numpy as np

    return np.dstack([pixels, opacity.astype(np.uint8)])


def picture_size(width: int, height: int, aspect: Fraction, size: int | None) -> tuple[int, int]:
    """The width and height, in square pixels, of the picture of a frame; the longer side has `size`
    pixels at most."""
    if not Fraction(1, 8) <= aspect <= 8:  # no camera has such pixels: the header is wrong
        aspect = Fraction(1)
    shown = width * aspect
    scale = min(Fraction(1), (size or _MOST_LONG) / max(shown, Fraction(height)))
    return max(1, round(shown * scale)), max(1, round(height * scale))


def _turned_upright(pixels: "Pixels", frame: "VideoFrame") -> "Pixels":
    """The picture turned and mirrored as its display matrix says, to the nearest quarter turn.

    The matrix takes (x, y) to (ax + cy, bx + dy), in 16.16 fixed point (ISO/IEC 14496-12, 6.2.2).
    """
    import numpy as np
    from av.sidedata.sidedata import SideDataContainer, Type

    _know_new_kinds(Type)
    # Not frame.side_data: the frame and that refer to each other, so that the frame's memory would
    # be freed only when Python next looks for such circles, hundreds of frames later.
    mapping: Any = SideDataContainer  # of a frame's by Type, unlike what PyAV's types say
    side_data = mapping(frame)
    try:
        matrix = np.frombuffer(side_data[Type.DISPLAYMATRIX], "<i4").reshape(3, 3)
    except KeyError:
        return pixels
    (a, b), (c, d) = matrix[:2, :2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _know_new_kinds(kinds: type[Enum]) -> None:
    """Accept kinds of side data that are newer than PyAV's list of them.

    Otherwise PyAV gives none of a frame's side data if one is of such a kind, as EXIF is
    (PyAV-Org/PyAV issue 2392). An enumeration calls `_missing_` for an unknown value.
    """
    if "_missing_" in vars(kinds):
        return

    def missing(kinds: type[Enum], value: object) -> Enum:
        kind = object.__new__(kinds)
        kind._name_, kind._value_ = f"UNKNOWN_{value}", value
        return kind

    kinds._missing_ = classmethod(missing)  # type: ignore[assignment]


def write_jpeg(pixels: "Pixels", path: Path, quality: int) -> None:
    """Write a picture of shape (height, width, 3), in blue, green, red; the same bytes every time.

    By OpenCV, which ultralytics brings: 1.2 ms for 640x360 on the machine where Pillow took 1.9.
    Raises OSError where the disk is full.
    """
    import cv2

    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(encoded.tobytes())
