"""Of a frame and an edited copy of it, which one stays: the frame, however sharp the edit is."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from engine import Item
from stages.crawl.dataset.dedup import Dedup
from stages.demo.shapes import draw, random_shapes, texture
from stages.files.json_lines import read_lines, write_lines
from stages.media.pictures.frame_quality import Looks, look, measure
from stages.neardup.hashing import perceptual_hash
from tests.stages.crawled import Crawl, output
from tests.stages.real_frames import frames_of

Edit = Callable[[Image.Image], Image.Image]


def logo(picture: Image.Image) -> Image.Image:
    drawn = ImageDraw.Draw(copy := picture.copy())
    width, height = copy.size
    drawn.rectangle((width * 0.82, height * 0.04, width * 0.96, height * 0.13), fill="white")
    drawn.text((width * 0.84, height * 0.05), "LOGO", fill="red", font_size=height // 16)
    return copy


def caption(picture: Image.Image) -> Image.Image:
    drawn = ImageDraw.Draw(copy := picture.copy())
    width, height = copy.size
    style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black"}
    drawn.text((width * 0.1, height * 0.88), "What it is", font_size=height // 14, **style)
    return copy


def border(picture: Image.Image) -> Image.Image:
    drawn = ImageDraw.Draw(copy := picture.copy())
    width, height = copy.size
    drawn.rectangle((0, 0, width - 1, height - 1), outline="white", width=height // 60)
    return copy


def sepia(picture: Image.Image) -> Image.Image:
    mixed = np.asarray(picture, float) @ np.array(
        [[0.393, 0.349, 0.272], [0.769, 0.686, 0.534], [0.189, 0.168, 0.131]]
    )
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def grey(picture: Image.Image) -> Image.Image:
    return ImageOps.grayscale(picture).convert("RGB")


def smaller(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width * 2 // 3, picture.height * 2 // 3))


def there_and_back(picture: Image.Image) -> Image.Image:
    small = picture.resize((picture.width // 2, picture.height // 2))
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def moved(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture, float)
    return Image.fromarray(np.mean([np.roll(pixels, n, 1) for n in range(9)], 0).astype(np.uint8))


def recompressed(picture: Image.Image) -> Image.Image:
    picture.save(file := io.BytesIO(), "JPEG", quality=40)
    return Image.open(file).convert("RGB")


WORSE: dict[str, Edit] = {
    "smaller": smaller,
    "grey": grey,
    "sepia": sepia,
    "logo": logo,
    "caption": caption,
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.5)),
    "moved": moved,
    "scaled down and up": there_and_back,
}
"""Edits that lose by what the copy looks like, also when it is the earlier one."""

EQUAL: dict[str, Edit] = {
    "recompressed": recompressed,
    "border": border,
    "more colourful": lambda picture: ImageEnhance.Color(picture).enhance(1.4),
}
"""Edits that add and take too little to tell: there the earlier one stays."""


@pytest.fixture
def crawl(tmp_path: Path) -> Crawl:
    """One that takes all these copies for duplicates: a logo alone may turn over ten bits."""
    crawl = Crawl(tmp_path)
    crawl.settings["dedup"] = Dedup.Settings(distance=16)
    return crawl


def pictured(seed: int) -> Image.Image:
    """A frame as a lens makes it: no edge is harder than the lens."""
    picture = draw(texture(640, 360, seed), random_shapes(seed, 640, 360))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


SEEDS = (1, 2, 6)
"""Of pictures with several colours."""


def decoded(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)[:, :, ::-1].copy()


def kept_of(crawl: Crawl, name: str, pictures: Sequence[Image.Image]) -> list[int]:
    """Which of the frames of a video stay, as the stage decides."""
    item = Item.at(crawl.workdir, f"https://a.test/{name}")
    lines = []
    with output(item, "filter") as out:
        (out / "frames").mkdir()
        for number, picture in enumerate(pictures):
            picture.save(out / "frames" / f"{number}.jpg", quality=92)
            size = {"width": picture.width, "height": picture.height}
            sharpness = measure(decoded(picture)).sharpness
            line = {"file": f"{number}.jpg", "timestamp": float(number), "sharpness": sharpness}
            lines.append(line | size | {"detections": []})
        write_lines(out / "detections.jsonl", lines)
    crawl.deduplicate(item)
    marked = read_lines(item.output("dedup") / "hashes.jsonl")
    return [number for number, line in enumerate(marked) if line["duplicate_of"] is None]


@pytest.mark.parametrize("edit", WORSE)
def test_the_frame_stays_and_its_edited_copy_goes(crawl: Crawl, edit: str) -> None:
    for seed in SEEDS:
        original, copy = pictured(seed), WORSE[edit](pictured(seed))
        assert kept_of(crawl, f"{seed}", [original, copy]) == [0]
        assert kept_of(crawl, f"{seed} turned", [copy, original]) == [1]


@pytest.mark.parametrize("edit", EQUAL)
def test_where_an_edit_hardly_shows_the_earlier_stays(crawl: Crawl, edit: str) -> None:
    for seed in SEEDS:
        assert kept_of(crawl, f"{seed}", [pictured(seed), EQUAL[edit](pictured(seed))]) == [0]


def test_shades_of_one_tint_are_no_colours() -> None:
    for seed in SEEDS:
        assert look(decoded(pictured(seed))).colour
        assert not look(decoded(grey(pictured(seed)))).colour
        assert not look(decoded(recompressed(sepia(pictured(seed))))).colour


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 2), (640, 360)])
def test_a_frame_of_one_colour_has_looks_too(size: tuple[int, int]) -> None:
    flat = np.full((size[1], size[0], 3), (10, 200, 90), np.uint8)
    assert look(flat) == Looks(colour=False, clarity=-18, painted=0)


def test_of_real_frames_the_edited_copies_go(data: Path, tmp_path: Path) -> None:
    """Counted over several clips, as no measure is right about every frame."""
    lost = dict.fromkeys(WORSE, 0)
    pairs = dict.fromkeys(WORSE, 0)
    for clip in sorted((data / "neardup").glob("*.mp4")):
        for content in list(frames_of(clip, 2.0))[:3]:
            original = Image.open(io.BytesIO(content)).convert("RGB")
            for name, edit in WORSE.items():
                hashes = []
                for picture in (original, edit(original)):
                    picture.save(tmp_path / "frame.jpg", quality=92)
                    hashes.append(perceptual_hash(tmp_path / "frame.jpg"))
                if name != "smaller" and (hashes[0] ^ hashes[1]).bit_count() <= 8:
                    pairs[name] += 1
                    one, other = (look(decoded(picture)) for picture in (original, edit(original)))
                    lost[name] += key(other) > key(one)
    assert sum(pairs.values()) > 50
    assert sum(lost.values()) < 0.05 * sum(pairs.values()), (lost, pairs)


def key(looks: Looks) -> tuple[bool, int, int]:
    return looks.colour, looks.clarity, -looks.painted
