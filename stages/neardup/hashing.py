"""The perceptual hash by which two frames are compared: ImageHash's pHash, as an integer."""

from pathlib import Path


def perceptual_hash(path: Path) -> int:
    """The 64-bit pHash of the image at `path`, an unsigned integer, bit for bit ImageHash's.

    `format(hash, "016x")` is `str(imagehash.phash(PIL.Image.open(path)))` with default parameters:
    the image in grey, 32 x 32 pixels, its 8 x 8 lowest frequencies, each bit whether one of them is
    above their median. Two hashes are compared by Hamming distance, 0 to 64 bits.

    Raises FileNotFoundError where there is no file and PIL.UnidentifiedImageError (both OSError)
    where it is not an image; a truncated image is an OSError too.
    """
    import imagehash
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
