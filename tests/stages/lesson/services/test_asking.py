"""What services answer, good and bad, and what is kept of it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine import Permanent, Transient
from stages.lesson.pictures.fitting import fit_drawn
from stages.lesson.services.answers import MediaAnswer
from stages.lesson.services.asking import MediaAsker
from stages.lesson.services.image_api import (
    LEAST_PIXELS,
    GeminiImages,
    OpenAIImages,
    nearest_ratio,
    size_to_ask,
)
from stages.lesson.services.profiles import ServiceProfile
from stages.lesson.services.settings import ServiceSettings, open_asker
from stages.lesson.services.speech_api import GeminiSpeech, OpenAISpeech
from stages.lesson.voices.pcm import RATE
from stages.lesson.voices.served import in_pieces, read_spoken
from tests.stages.lesson.media_server import (
    MediaService,
    as_json,
    gemini_answer,
    media_service,
    said,
    wav,
)
from tests.stages.vision_server import Answer, problem

TEXT = "The Moon pulls."

APIS: dict[tuple[str, str], Any] = {
    ("openai", "image"): lambda url: OpenAIImages(url, "images", (320, 180)),
    ("openai", "voice"): lambda url: OpenAISpeech(url, "speech", "alloy"),
    ("gemini", "image"): lambda url: GeminiImages(url, "images", (320, 180)),
    ("gemini", "voice"): lambda url: GeminiSpeech(url, "speech", "Kore"),
}


def asker(service: MediaService, workdir: Path, protocol: str, step: str) -> MediaAsker:
    url = f"{service.server.origin}/v1"
    settings = ServiceSettings(backend=protocol, base_url=url, call_attempts=1)
    api = APIS[protocol, step](url)
    profile = ServiceProfile(url, "model", "NO_API_KEY")
    return open_asker(settings, profile, api, {}, workdir, step=step, free="none")


def ask(service: MediaService, workdir: Path, protocol: str, step: str, times: int = 1) -> Any:
    """What became of the answer to TEXT: a picture's file, or samples."""
    target = workdir / "picture.png"
    reading: Any = fit_drawn((320, 180), target) if step == "image" else read_spoken

    async def main() -> Any:
        made = asker(service, workdir, protocol, step)
        try:
            [found, *_] = await made.ask_each([TEXT] * times, reading)
            return found
        finally:
            await made.close()

    workdir.mkdir(exist_ok=True)
    found = anyio.run(main)
    return target if step == "image" else found


@pytest.mark.parametrize(("protocol", "step"), APIS)
def test_an_answer_is_paid_once_and_kept(tmp_path: Path, protocol: str, step: str) -> None:
    with media_service() as service:
        for _ in range(2):
            made = ask(service, tmp_path, protocol, step, times=3)
        assert service.paid == {TEXT: 1}
    if step == "image":
        with Image.open(made) as picture:
            assert picture.size == (320, 180)
    else:
        assert len(made) / RATE == pytest.approx(len(said(TEXT)) / 24_000, abs=0.01)


NO_PICTURE = as_json({"data": [{"b64_json": "bm8gcGljdHVyZQ=="}]})
CUT_SHORT = gemini_answer("image/png", b"\x89PNG\r\n\x1a\n")
SILENT = Answer(200, wav(np.zeros(48_000, np.int16)), {"Content-Type": "audio/wav"})
SHORT = Answer(200, wav(said(TEXT)[:2400]), {"Content-Type": "audio/wav"})
BLOCKED = as_json({"promptFeedback": {"blockReason": "SAFETY"}})
BROKEN = Answer(200, b"RIFF\0\0\0\0WAVE", {"Content-Type": "audio/wav"})
FLAGGED = problem(400, code="moderation_blocked", type="image_generation_user_error")
ADDRESS = as_json({"data": [{"url": "http://a/b.png"}]})


@pytest.mark.parametrize(
    ("protocol", "step", "wrong", "ending", "why"),
    [
        ("openai", "image", NO_PICTURE, Transient, "is no picture"),
        ("openai", "image", as_json({"data": []}), Transient, "not an answer with a picture"),
        ("openai", "image", as_json({"data": [{}]}), Transient, "no base64"),
        ("openai", "image", ADDRESS, Permanent, "a picture's address"),
        ("openai", "image", FLAGGED, Permanent, "says the server with 400"),
        ("openai", "voice", SILENT, Transient, "nothing to be heard"),
        ("openai", "voice", SHORT, Transient, "far too short"),
        ("openai", "voice", Answer(200, b"", {"Content-Type": "audio/wav"}), Transient, "no sound"),
        ("openai", "voice", as_json({"ok": True}), Transient, "JSON in place of sound"),
        ("openai", "voice", as_json({"error": {"code": 503}}), Transient, "503"),
        ("openai", "voice", BROKEN, Transient, "no sound that can be read"),
        ("gemini", "image", BLOCKED, Permanent, "refused it (safety)"),
        ("gemini", "image", gemini_answer("", b"", "IMAGE_SAFETY"), Permanent, "(image_safety)"),
        ("gemini", "image", gemini_answer("", b"", "NO_IMAGE"), Transient, "no whole image"),
        ("gemini", "image", CUT_SHORT, Transient, "is no picture"),
        ("gemini", "image", as_json({"candidates": []}), Transient, "not a generateContent"),
        ("gemini", "voice", gemini_answer("", b"", "OTHER"), Transient, "no whole audio (other)"),
        ("gemini", "voice", gemini_answer("audio/L16", b"ab", "MAX_TOKENS"), Transient, "(max_tok"),
    ],
)  # fmt: skip
def test_an_answer_that_is_of_no_use_says_why_and_is_not_kept(
    tmp_path: Path, protocol: str, step: str, wrong: Answer, ending: type[Exception], why: str
) -> None:
    with media_service(lambda number, request: wrong if number == 0 else None) as service:
        with pytest.raises(ending) as found:
            ask(service, tmp_path, protocol, step)
        assert why in str(found.value)
        ask(service, tmp_path, protocol, step)
        assert service.paid == {TEXT: 1}


@given(st.integers(64, 4096), st.integers(64, 4096))
def test_sizes_are_asked_for_in_steps_of_sixteen(width: int, height: int) -> None:
    asked = size_to_ask((width, height))
    assert all(side % 16 == 0 and 16 <= side <= 3840 for side in asked)
    if max(asked) < 3840:
        assert asked[0] * asked[1] >= LEAST_PIXELS
        assert asked[0] >= width
        assert asked[1] >= height


def test_usual_sizes() -> None:
    assert size_to_ask((1280, 720)) == (1280, 720)
    assert size_to_ask((1920, 1080)) == (1920, 1088)
    assert nearest_ratio((1280, 720)) == (16, 9)
    assert nearest_ratio((1080, 1080)) == (1, 1)


WORDS = st.lists(st.sampled_from(["Fundy", "the", "a,", "sea.", "high!", "x" * 90]), max_size=60)


@given(WORDS, st.integers(200, 400))
def test_no_word_is_lost_in_pieces_and_none_is_too_long(words: Sequence[str], most: int) -> None:
    text = " ".join(words)
    pieces = in_pieces(text, {"Fundy": "fun dee, as they say it there"}, most)
    assert " ".join(one for piece in pieces for one in piece.sentences) == text
    assert all(0 < len(piece.aloud) <= most for piece in pieces)
    assert all("Fundy" not in piece.aloud for piece in pieces)


@pytest.mark.parametrize(("mime", "rate"), [("audio/L16;codec=pcm;rate=16000", 16_000), ("", None)])
def test_bare_samples_have_the_rate_of_their_type(mime: str, rate: int | None) -> None:
    answer = MediaAnswer(said(TEXT).tobytes(), mime)
    seconds = len(read_spoken(answer, TEXT)) / RATE
    assert seconds == pytest.approx(len(said(TEXT)) / (rate or 24_000), abs=0.01)


def test_a_picture_of_nearly_the_form_fills_the_lessons(tmp_path: Path) -> None:
    def shown(width: int, height: int) -> Any:
        file = io.BytesIO()
        Image.new("RGB", (width, height), (255, 255, 255)).save(file, "PNG")
        fit_drawn((320, 180), tmp_path / "a.png")(MediaAnswer(file.getvalue(), "image/*"), "")
        with Image.open(tmp_path / "a.png") as made:
            return made.convert("RGB").getpixel((1, 90))

    assert shown(1920, 1088) == (255, 255, 255)
    assert shown(1024, 1024) == (0, 0, 0), "bars, where much would be cut off"


def test_a_picture_that_fits_stays_as_the_service_made_it(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8))
    sideways = Image.Exif()
    sideways[0x0112] = 3

    def fitted(picture: Image.Image, kind: str, **options: Any) -> tuple[bytes, Image.Image]:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        fit_drawn((320, 180), tmp_path / "a.png")(MediaAnswer(file.getvalue(), "image/*"), "")
        with Image.open(tmp_path / "a.png") as made:
            assert (made.format, made.mode) == ("PNG", "RGB")
            return file.getvalue(), made.copy()

    content, _ = fitted(picture, "PNG")
    assert (tmp_path / "a.png").read_bytes() == content
    _, upside_down = fitted(picture, "PNG", exif=sideways)
    assert upside_down.tobytes() == picture.rotate(180).tobytes()
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    _, black = fitted(clear, "PNG")
    assert not any(black.tobytes())
    _, from_webp = fitted(picture, "WEBP", lossless=True)
    assert from_webp.tobytes() == picture.tobytes()
