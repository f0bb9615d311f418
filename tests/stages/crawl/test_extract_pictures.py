"""What the extract stage makes of videos that say more of their pictures than most do."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine import Item, Permanent
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.extract import Extract
from tests.stages.clips import make_clip
from tests.stages.containers import (
    DISPLAY,
    ENTRY,
    SEGMENT,
    TRACK,
    TRACKS,
    VIDEO,
    box,
    clean_aperture,
    element,
    pixel_crop,
    put_into_matroska,
    put_into_mp4,
)
from tests.stages.crawl.test_extract import Output, Run
from tests.stages.extracting import downloaded
from tests.stages.splitting import split_whole

SIZE = (160, 96)
FRAMES = range(30)
BASE = Fraction(1, 25)


@pytest.fixture
def extract(make_item: Callable[..., Item], tmp_path: Path) -> Run:
    """Runs the stage on a file that is already there."""

    def run(path: Path, **settings: object) -> Output:
        item = make_item(str(path), download=downloaded(path))
        stage = Extract(Extract.Settings(**settings), workdir=tmp_path)
        out = open_scratch(item, "extract")
        shutil.rmtree(out)
        out.mkdir()
        stage.open()
        split_whole(stage, item.with_inputs({"video": "download"}), out)
        stage.close()
        return Output(out)

    return run


def picture(index: int) -> np.ndarray:
    """Grey with a white frame of 16 pixels around it."""
    pixels = np.full((96, 160, 3), 255, np.uint8)
    pixels[16:-16, 16:-16] = 100
    return pixels


def clip(path: Path, **more: object) -> Path:
    settings: dict[str, object] = {
        "size": SIZE,
        "time_base": BASE,
        "rate": 25,
        "picture": picture,
        "options": {"x264-params": "keyint=5:bframes=2", "crf": "10"},
    }
    return make_clip(path, FRAMES, **(settings | more))  # type: ignore[arg-type]


def sizes(output: Output) -> set[tuple[object, object]]:
    return {(frame["width"], frame["height"]) for frame in output.frames}


def first(output: Output) -> np.ndarray:
    return np.asarray(Image.open(output.folder / "frames" / str(output.frames[0]["file"])))


@pytest.mark.parametrize("settings", [{"sample": "all"}, {"fps": 5}, {"sample": "keyframes"}])
@pytest.mark.parametrize("threads", [1, "auto"])
def test_each_frame_has_the_aspect_that_it_says(
    extract: Run,
    tmp_path: Path,
    settings: dict,
    threads: object,
) -> None:
    shapes = [Fraction(4, 5), Fraction(16, 15), Fraction(4, 5)]
    parts = [
        clip(tmp_path / f"{i}.ts", codec="mpeg2video", options={"g": "5", "bf": "2"}, aspect=shape)
        for i, shape in enumerate(shapes)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))

    output = extract(joined, threads=threads, **settings)

    widths = [frame["width"] for frame in output.frames]
    third = len(widths) // 3
    assert set(widths) == {128, 171}
    assert widths[0] == widths[-1] == 128
    assert 171 in widths[third : 2 * third]
    if settings == {"sample": "all"}:
        changes = [i for i in range(1, len(widths)) if widths[i] != widths[i - 1]]
        assert changes == [30, 60]


def test_what_the_container_says_of_the_aspect_goes_before_the_codec(
    extract: Run,
    tmp_path: Path,
) -> None:
    made = clip(tmp_path / "clip.mp4", aspect=Fraction(4, 3))
    content = made.read_bytes()
    place = content.index(b"pasp")
    made.write_bytes(content[: place + 4] + b"\0\0\0\2\0\0\0\1" + content[place + 12 :])

    assert sizes(extract(made, sample="all")) == {(320, 96)}


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (clean_aperture(128, 64), (128, 64)),
        (clean_aperture(144, 80, right=8, down=-8), (144, 80)),
        (clean_aperture(160, 96), (160, 96)),
        (clean_aperture(400, 96), (160, 96)),
        (clean_aperture(128, 64, right=100), (160, 96)),
        (box(b"clap", bytes(32)), (160, 96)),
        (box(b"clap", b"\1"), (160, 96)),
    ],
)
def test_the_clean_aperture_is_what_is_shown(
    extract: Run,
    tmp_path: Path,
    added: bytes,
    expected: tuple,
) -> None:
    made = clip(tmp_path / "clip.mp4")
    put_into_mp4(made, added, *ENTRY)

    output = extract(made, sample="all")

    assert sizes(output) == {expected}
    assert first(output)[4:-4, 4:-4].max() > 200 or expected == (128, 64)
    if expected == (128, 64):
        assert first(output)[4:-4, 4:-4].max() < 110


@pytest.mark.parametrize("size", [0, 64])
@pytest.mark.parametrize(
    ("crop", "display", "expected"),
    [
        ((0, 16, 0, 16), (160, 64), (160, 64)),
        ((0, 16, 0, 16), (160, 96), (160, 64)),  # as mkvtoolnix leaves it
        ((16, 0, 16, 0), (160, 96), (128, 96)),
        ((16, 16, 16, 16), (256, 64), (256, 64)),
        ((0, 0, 0, 0), (160, 96), (160, 96)),
    ],
)
def test_what_matroska_crops_is_not_shown(
    extract: Run,
    tmp_path: Path,
    crop: tuple,
    display: tuple,
    expected: tuple,
    size: int,
) -> None:
    made = clip(tmp_path / "clip.mkv")
    added = pixel_crop(*crop, display)
    put_into_matroska(made, added, SEGMENT, TRACKS, TRACK, VIDEO, without=DISPLAY)

    output = extract(made, sample="all", size=size)

    scale = size / max(expected) if size else 1
    assert sizes(output) == {tuple(round(side * scale) for side in expected)}
    assert len(output.frames) == 30


KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def cenc(path: Path) -> Path:
    return clip(path.with_suffix(".mp4"), container_options=KEY)


def cenc_in_fragments(path: Path) -> Path:
    options = KEY | {"movflags": "frag_keyframe+empty_moov"}
    return clip(path.with_suffix(".mp4"), container_options=options)


def cenc_hevc(path: Path) -> Path:
    options = {"x265-params": "log-level=none"}
    return clip(path.with_suffix(".mp4"), codec="libx265", options=options, container_options=KEY)


def only_its_samples_say_so(path: Path) -> Path:
    """As with a clear beginning: an entry of each kind."""
    made = cenc(path)
    made.write_bytes(made.read_bytes().replace(b"tenc\0\0\0\0\0\0\1", b"tenc\0\0\0\0\0\0\0"))
    return made


def matroska(path: Path) -> Path:
    made = clip(path.with_suffix(".mkv"))
    encryption = element(0x5035, element(0x47E1, 5))
    encoding = element(0x6240, element(0x5033, 1) + encryption)
    put_into_matroska(made, element(0x6D80, encoding), SEGMENT, TRACKS, TRACK)
    return made


def scrambled(path: Path) -> Path:
    made = clip(path.with_suffix(".ts"))
    content = bytearray(made.read_bytes())
    for at in range(0, len(content), 188):
        if content[at + 1] & 0x1F == 1 and content[at + 3] & 0x10:  # the video's: 0x100
            content[at + 3] |= 0x80
    made.write_bytes(content)
    return made


def windows_media(path: Path) -> Path:
    made = clip(path.with_suffix(".asf"), codec="wmv2", options={})
    content = made.read_bytes()
    guid = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    held = b"\1\0\0\0x" + b"\4\0\0\0DRM\0" + b"\2\0\0\0k\0" + b"\2\0\0\0u\0"
    added = guid + (24 + len(held)).to_bytes(8, "little") + held
    length = int.from_bytes(content[16:24], "little") + len(added)
    head = content[:16] + length.to_bytes(8, "little") + content[24:30]
    made.write_bytes(head + added + content[30:])
    return made


@pytest.mark.parametrize(
    "make",
    [
        cenc,
        cenc_in_fragments,
        cenc_hevc,
        only_its_samples_say_so,
        matroska,
        scrambled,
        windows_media,
    ],
)
@pytest.mark.parametrize("settings", [{}, {"sample": "keyframes"}])
def test_what_is_encrypted_fails_and_says_so(
    extract: Run,
    tmp_path: Path,
    make: Callable[[Path], Path],
    settings: dict,
) -> None:
    with pytest.raises(Permanent, match=r"is encrypted.* key") as caught:
        extract(make(tmp_path / "clip"), **settings)

    assert caught.value.kind == "encrypted"


def pssh_alone(path: Path) -> Path:
    made = clip(path.with_suffix(".mp4"))
    put_into_mp4(made, box(b"pssh", bytes(4), bytes(16), bytes(4)), b"moov")
    return made


def compressed_matroska(path: Path) -> Path:
    """A content encoding that is no encryption: headers stripped, of no bytes."""
    made = clip(path.with_suffix(".mkv"))
    compression = element(0x5034, element(0x4254, 3) + element(0x4255, b""))
    encoding = element(0x6240, element(0x5033, 0) + compression)
    put_into_matroska(made, element(0x6D80, encoding), SEGMENT, TRACKS, TRACK)
    return made


def scrambled_in_part(path: Path) -> Path:
    """A recording that begins before the receiver had the key."""
    made = clip(path.with_suffix(".ts"))
    content = bytearray(made.read_bytes())
    for at in range(0, len(content) // 8, 188):
        if content[at + 1] & 0x1F == 1:
            content[at + 3] |= 0x80
    made.write_bytes(content)
    return made


@pytest.mark.parametrize("make", [pssh_alone, compressed_matroska, scrambled_in_part])
def test_what_could_be_encrypted_and_is_not_is_taken(
    extract: Run,
    tmp_path: Path,
    make: Callable[[Path], Path],
) -> None:
    assert len(extract(make(tmp_path / "clip"), sample="all").frames) >= 10


@pytest.mark.parametrize(("transfer", "name"), [("smpte2084", "pq"), ("arib-std-b67", "hlg")])
def test_high_dynamic_range_is_mapped_and_said(
    extract: Run,
    tmp_path: Path,
    transfer: str,
    name: str,
) -> None:
    level = 148 if name == "pq" else 191  # reference white
    made = clip(
        tmp_path / "clip.mp4",
        codec="libx265",
        pixel_format="yuv420p10le",
        options={
            "x265-params": f"log-level=none:colorprim=bt2020:transfer={transfer}:"
            "colormatrix=bt2020nc"
        },
        picture=lambda index: np.full((96, 160, 3), level, np.uint8),
    )

    output = extract(made, sample="all")

    assert output.summary["tone_mapped"] == name
    assert abs(float(first(output).mean()) - 230) < 4


def test_standard_dynamic_range_says_nothing_of_it(extract: Run, tmp_path: Path) -> None:
    assert "tone_mapped" not in extract(clip(tmp_path / "clip.mp4")).summary


def test_pixels_that_make_no_picture_have_a_class(extract: Run, tmp_path: Path) -> None:
    made = clip(tmp_path / "clip.mp4", options={"x264-params": "colormatrix=ICtCp"})

    with pytest.raises(Permanent, match=r"ICtCp.* convert it") as caught:
        extract(made)

    assert caught.value.kind == "unsupported_pixels"


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.mp4", "libx264", "yuv420p"), ("a.gif", "gif", "rgb8"), ("a.avi", "mjpeg", "yuvj420p"),
        ("a.avi", "png", "rgb24"), ("a.mkv", "ffv1", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"), ("a.mkv", "libsvtav1", "yuv420p"),
        ("a.apng", "apng", "rgb24"),
    ],
)  # fmt: skip
def test_a_frame_with_too_many_pixels_is_refused_before_it_is_decoded(
    extract: Run,
    tmp_path: Path,
    name: str,
    codec: str,
    form: str,
) -> None:
    options = {"cpu-used": "8"} if codec == "libvpx-vp9" else {}
    made = clip(tmp_path / name, codec=codec, pixel_format=form, options=options)

    with pytest.raises(Permanent, match=r"160x96 pixels, more than max_pixels \(15359\)") as caught:
        extract(made, max_pixels=15359)

    assert caught.value.kind == "too_large"
    assert sizes(extract(made, max_pixels=160 * 104)) == {SIZE}


def test_a_stream_that_grows_is_caught(extract: Run, tmp_path: Path) -> None:
    """The header is the first part's; the second one's frames are four times as large."""
    parts = [
        clip(tmp_path / f"{side}.ts", size=(side, side), picture=lambda i, side=side: np.full(
            (side, side, 3), 90, np.uint8))
        for side in (96, 192)
    ]  # fmt: skip
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))

    output = extract(joined, sample="all", max_pixels=100 * 100)

    assert sizes(output) == {(96, 96)}
    assert any("could not be decoded" in line for line in output.summary["damage"])
    assert sizes(extract(joined, sample="all")) == {(96, 96), (192, 192)}


@pytest.mark.parametrize("cut", range(12))
def test_headers_that_are_cut_or_changed_say_nothing(
    extract: Run,
    tmp_path: Path,
    cut: int,
) -> None:
    made = clip(tmp_path / "clip.mkv") if cut % 2 else cenc(tmp_path / "clip")
    content = bytearray(made.read_bytes())
    noise = np.random.default_rng(cut)
    first_byte = content.find(b"moov") if cut % 2 == 0 else 40
    for at in noise.integers(first_byte, first_byte + 600, 12):
        content[at % len(content)] = int(noise.integers(256))
    made.write_bytes(content)

    try:
        extract(made)
    except Permanent as ending:
        assert "\n" not in ending.reason


def test_a_packet_of_an_absurd_size_costs_what_comes_after_it(extract: Run, tmp_path: Path) -> None:
    made = clip(tmp_path / "clip.mp4")
    content = bytearray(made.read_bytes())
    sizes_at = content.index(b"stsz") + 16
    content[sizes_at + 4 * 20 : sizes_at + 4 * 21] = (2**31 - 1).to_bytes(4, "big")
    made.write_bytes(content)

    output = extract(made, sample="all")

    assert 15 <= len(output.frames) <= 21


@pytest.mark.parametrize("length", [2**40, 2**55, 2**56 - 2])
def test_an_element_of_an_absurd_length_says_nothing(
    extract: Run, tmp_path: Path, length: int
) -> None:
    made = clip(tmp_path / "clip.mkv")
    put_into_matroska(made, b"", SEGMENT)
    content = made.read_bytes()
    inside = content.index(element(SEGMENT, b"")[:4]) + 12
    void = b"\xec" + (1 << 56 | length).to_bytes(8, "big")
    made.write_bytes(content[:inside] + void + content[inside:])

    try:
        extract(made)
    except Permanent as ending:
        assert "\n" not in ending.reason


def test_the_container_s_own_library_agrees_about_the_clips(tmp_path: Path) -> None:
    """What these tests change in a file does not keep it from opening."""
    made = clip(tmp_path / "clip.mkv")
    put_into_matroska(made, pixel_crop(0, 16, 0, 16, (160, 64)), SEGMENT, TRACKS, TRACK, VIDEO)

    with av.open(str(made)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
