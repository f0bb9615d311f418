"""Pictures of any form and size, in that of the lesson."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine import PenstockError, Transient
from stages.lesson.services.answers import MediaAnswer

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 100_000_000

MOST_CUT = 0.05
"""The share of a drawn picture that may be cut off to fill the lesson's, in place of bars."""

PNG = b"\x89PNG\r\n\x1a\n"

SHAPING = (b"tRNS", b"eXIf")
"""Chunks of a PNG that change how it is shown."""


class UnreadablePictureError(PenstockError):
    """It is no picture, or a damaged one."""


def fit_whole(source: "Path | io.BytesIO", size: tuple[int, int], target: Path) -> None:
    """The picture in full, upright, with black beside it or above it where its form differs. Raises
    UnreadablePictureError."""
    from PIL import Image, ImageOps

    ImageOps.pad(_opened(source), size, Image.Resampling.LANCZOS).save(target, compress_level=1)


def fit_drawn(size: tuple[int, int], target: Path) -> Callable[[MediaAnswer, str], None]:
    """What writes a service's answer there, as a picture of that size. A little is cut off rather
    than bars shown, for services draw in forms of their own. It raises Transient, of kind
    "no_picture"."""

    def fit(answer: MediaAnswer, text: str) -> None:
        from PIL import Image, ImageOps

        try:
            drawn = _opened(io.BytesIO(answer.content))
        except UnreadablePictureError as error:
            why = f"what the service answered is no picture: {error}"
            raise Transient(why, kind="no_picture") from None
        if drawn.size == size and _is_plain_png(answer.content):
            target.write_bytes(answer.content)  # to compress it again would take long
            return
        ratio = drawn.width * size[1] / (drawn.height * size[0])
        fitting = ImageOps.fit if 1 - min(ratio, 1 / ratio) <= MOST_CUT else ImageOps.pad
        if drawn.size != size:
            drawn = fitting(drawn, size, Image.Resampling.LANCZOS)
        drawn.save(target, compress_level=1)

    return fit


def _is_plain_png(content: bytes) -> bool:
    """Whether it is a PNG that is shown as it is: in colours, none transparent, and upright."""
    is_png, colours = content.startswith(PNG), content[25:26]
    return is_png and colours == b"\2" and not any(chunk in content for chunk in SHAPING)


def _opened(source: "Path | io.BytesIO") -> "Image":
    """The picture, upright, without transparency: on black."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with Image.open(source) as found:
            upright = ImageOps.exif_transpose(found)
            if upright.mode == "RGB" and "transparency" not in upright.info:
                upright.load()
                return upright
            upright = upright.convert("RGBA")
    except UnidentifiedImageError:
        raise UnreadablePictureError("its format is not known") from None
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise UnreadablePictureError(str(error)) from None
    flat = Image.new("RGB", upright.size, (0, 0, 0))
    flat.paste(upright, mask=upright.getchannel("A"))
    return flat
