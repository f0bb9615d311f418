"""Small copies of pictures, as addresses that hold the picture itself: for pages of one file."""

import base64
import io
from pathlib import Path

QUALITY = 60
"""Of JPEG."""


def thumbnail(path: Path, longest: int) -> str | None:
    """The picture, its longer side of at most so many pixels, as a data: address; None where it is
    gone or damaged: what shows it is shown without."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("RGB", (longest, longest))
            image.thumbnail((longest, longest))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    except (OSError, ValueError):
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
