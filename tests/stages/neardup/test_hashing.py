"""The perceptual hash is ImageHash's, bit for bit."""

from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from stages.neardup.hashing import perceptual_hash


def reference(path: Path) -> str:
    with Image.open(path) as image:
        return str(imagehash.phash(image))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 90), height=st.integers(1, 90))
def test_it_is_imagehash_on_any_image(
    tmp_path_factory: pytest.TempPathFactory, seed: int, width: int, height: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = tmp_path_factory.getbasetemp() / "noise.jpg"
    Image.fromarray(noise).save(path)
    assert format(perceptual_hash(path), "016x") == reference(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_it_is_imagehash_in_every_colour_mode(tmp_path: Path, mode: str) -> None:
    gradient = Image.linear_gradient("L").resize((120, 80)).rotate(30)
    path = tmp_path / "image.tif"
    gradient.convert("RGB").convert(mode).save(path)
    assert format(perceptual_hash(path), "016x") == reference(path)


def test_one_colour_has_a_hash_too(tmp_path: Path) -> None:
    path = tmp_path / "black.png"
    Image.new("RGB", (64, 48)).save(path)
    assert format(perceptual_hash(path), "016x") == reference(path)


def test_it_is_imagehash_on_frames_of_real_videos(data: Path, tmp_path: Path) -> None:
    import av

    for video in ("mdn_elf.mp4", "mdn_pig.webm"):
        with av.open(data / "neardup" / video) as container:
            for number, frame in zip(range(5), container.decode(video=0), strict=False):
                path = tmp_path / f"{video}-{number}.jpg"
                frame.to_image().save(path)
                assert format(perceptual_hash(path), "016x") == reference(path)


def test_what_is_not_an_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_text("<html>not found</html>")
    with pytest.raises(UnidentifiedImageError):
        perceptual_hash(path)
    with pytest.raises(FileNotFoundError):
        perceptual_hash(tmp_path / "missing.jpg")


def test_half_an_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "whole.jpg"
    Image.effect_noise((320, 240), 80).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(OSError, match="truncated"):
        perceptual_hash(path)
