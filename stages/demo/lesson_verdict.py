"""Compares the video of `penstock demo lesson` with what was planted: by decoding it."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.demo.lesson_script import (
    AFTER,
    BEFORE,
    FPS,
    SCRIPT,
    SECTIONS,
    SIZE,
    TITLE,
    PlantedSection,
    spoken,
)
from stages.demo.verdict import Expectation, Findings
from stages.lesson.assemble import CARD_SECONDS, card_of_missing
from stages.lesson.films import FILMS
from stages.lesson.pictures.card import draw_card
from stages.media.media_file import open_media
from stages.sound.track import RATE as RECORDED_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = (64, 36)
"""Width and height in which frames are compared."""

NEAR = 6.0
"""The mean difference, of 255, that H.264 may make."""

LOUD = 0.1
"""Of full scale: as loud as a click at least."""


@dataclass(frozen=True, slots=True)
class DecodedLesson:
    """A video as it is decoded. `seen` has each frame small, `heard` the sound."""

    told: dict[str, Any]
    seen: "NDArray[np.float32]"
    heard: "NDArray[np.float32]"
    rate: int
    ends: dict[str, float]
    """The length of each track, by its kind, as the file states it."""
    codecs: Sequence[str]
    chapters: Sequence[tuple[float, str]]
    captions: Sequence[tuple[float, float, str]]
    comment: str
    plays_at_once: bool


def judge_lesson(out: Path) -> list[Findings]:
    """All checks of a finished run over the demo's script in this work folder."""
    video = out / FILMS / f"{Path(SCRIPT).stem}.mp4"
    if not video.is_file():
        missing = Expectation(video.name, "the video", "is there", "is not there", False)
        return [Findings("Video", [missing])]
    film = decoded(video)
    lengths = [planted_frames(section, film, at) for at, section in enumerate(SECTIONS)]
    return [
        Findings("Pictures", list(_pictures(film, lengths))),
        Findings("Sound", list(_sound(film, lengths))),
        Findings("Captions", list(_captions(film, lengths))),
        Findings("Chapters", [_chapters(film, lengths)]),
        Findings("Video", list(_video(film, lengths))),
    ]


def planted_frames(section: PlantedSection, film: DecodedLesson, at: int) -> int:
    """How many frames the section has to last. How long espeak-ng speaks is its own affair: that
    is taken from what was said."""
    if section.damaged:
        return CARD_SECONDS * FPS
    if section.text is None:
        return round((section.seconds or 0) * FPS)
    if section.speaks_itself:
        voice = len(spoken(str(section.said))) / RECORDED_RATE
    else:
        told = next((one for one in film.told["sections"] if one["position"] == at), None)
        if told is None or not told["said"]:
            return 0  # it is missing, and so it is told
        voice = told["said"][-1]["end"] - told["start"] - BEFORE
    return math.ceil(round((BEFORE + voice + AFTER) * FPS, 3))


def decoded(video: Path) -> DecodedLesson:
    import numpy as np

    with open_media(video) as film:
        frames = (one.reformat(*SMALL, format="rgb24") for one in film.decode(video=0))
        seen = np.asarray([frame.to_ndarray() for frame in frames], np.float32)
    with open_media(video) as film:
        rate = film.streams.audio[0].rate
        heard = np.concatenate([one.to_ndarray()[0] for one in film.decode(audio=0)])
    with open_media(video) as film:
        ends = _ends(film)
        chapters = [
            (float(one["start"] * (one["time_base"] or 1)), one["metadata"]["title"])
            for one in film.chapters()
        ]
        codecs = [one.codec_context.name for one in film.streams if one.type in ("video", "audio")]
        texts = film.demux(film.streams.subtitles[0]) if film.streams.subtitles else ()
        captions = [_caption(one) for one in texts if one.size > 2]
        comment = film.metadata.get("comment", "")
    content = video.read_bytes()
    return DecodedLesson(
        told=json.loads(video.with_suffix(".json").read_text("utf-8")),
        seen=seen,
        heard=heard,
        rate=rate,
        ends=ends,
        codecs=codecs,
        chapters=chapters,
        captions=captions,
        comment=comment,
        plays_at_once=0 < content.find(b"moov") < content.find(b"mdat"),
    )


def _ends(film: Any) -> dict[str, float]:
    """The length of each track that the file states, by its kind."""
    tracks = (one for one in film.streams if one.duration is not None)
    return {one.type: float(one.duration * one.time_base) for one in tracks}


def _caption(packet: Any) -> tuple[float, float, str]:
    start = float(packet.pts * packet.time_base)
    text = bytes(packet)[2:].decode("utf-8").replace("\n", " ")
    return start, start + float(packet.duration * packet.time_base), text


def _pictures(film: DecodedLesson, lengths: Sequence[int]) -> Iterator[Expectation]:
    """Whether each section is seen from its first frame to its last, and nowhere else: a frame
    shows the section whose picture it is next to."""
    import numpy as np

    pictures = [_picture(section, film, number) for number, section in enumerate(SECTIONS)]
    apart = np.asarray([abs(film.seen - one).mean(axis=(1, 2, 3)) for one in pictures])
    nearest = np.where(apart.min(axis=0) <= NEAR, apart.argmin(axis=0), -1)
    begin = 0
    for number, (section, frames) in enumerate(zip(SECTIONS, lengths, strict=True)):
        shown = np.flatnonzero(nearest == number)
        planted = f"frames {begin} to {begin + frames - 1}"
        found = f"frames {shown[0]} to {shown[-1]}" if len(shown) else "not shown"
        if len(shown) and shown[-1] - shown[0] != len(shown) - 1:
            found += f", {len(shown)} of them"
        yield Expectation(section.title, _what(section), planted, found, found == planted)
        begin += frames


def _what(section: PlantedSection) -> str:
    if section.damaged:
        return "a card: it is missing"
    return "one colour" if section.colour is not None else "a card"


def _picture(section: PlantedSection, film: DecodedLesson, number: int) -> Any:
    """What has to be seen in the section, small."""
    import numpy as np
    from PIL import Image

    if section.damaged:
        why = next((one["why"] for one in film.told["gaps"] if one["position"] == number), "")
        drawn = card_of_missing(SIZE, section.title, TITLE, number + 1, why)
    elif section.colour is not None:
        drawn = Image.new("RGB", SIZE, section.colour)
    else:
        drawn = draw_card(SIZE, section.title, section.text or "", TITLE)
    return np.asarray(drawn.resize(SMALL, Image.Resampling.BICUBIC), np.float32)


def _sound(film: DecodedLesson, lengths: Sequence[int]) -> Iterator[Expectation]:
    """Whether each recording's click is heard where its section's voice begins, to the frame; and
    whether there is a voice, or silence, where there has to be one."""
    begin = 0
    for section, frames in zip(SECTIONS, lengths, strict=True):
        piece = film.heard[_sample(film, begin) : _sample(film, begin + frames)]
        begin += frames
        if section.damaged or section.said is None:
            level = float(abs(piece).max()) if len(piece) else 0.0
            found = "silence" if level < 0.01 else f"a level of {level:.2f}"
            yield Expectation(section.title, "", "silence", found, found == "silence")
        elif section.speaks_itself:
            loud = (abs(piece) > LOUD).nonzero()[0]
            at = float(loud[0]) / film.rate if len(loud) else -1.0
            planted, found = f"a click at {BEFORE:.2f} s", f"a click at {at:.2f} s"
            near = abs(at - BEFORE) <= 1 / FPS
            yield Expectation(section.title, "a recording", planted, found, near)
        else:
            loud = (abs(piece) > 0.02).nonzero()[0]
            at = float(loud[0]) / film.rate if len(loud) else -1.0
            near = BEFORE - 1 / FPS <= at <= BEFORE + 0.5
            found = f"a voice from {at:.2f} s on" if len(loud) else "silence"
            yield Expectation(section.title, "espeak-ng", "a voice from 0.3 s on", found, near)


def _sample(film: DecodedLesson, frame: int) -> int:
    return round(frame * film.rate / FPS)


def _captions(film: DecodedLesson, lengths: Sequence[int]) -> Iterator[Expectation]:
    """Whether the captions have the script's words, each while its section is shown."""
    begin = 0.0
    for section, frames in zip(SECTIONS, lengths, strict=True):
        end = begin + frames / FPS
        if section.text is not None and not section.damaged:
            shown = [one for one in film.captions if begin <= one[0] and one[1] <= end + 0.001]
            words = " ".join(text for *_, text in shown).split()
            planted = f"{len(section.text.split())} words"
            right = words == section.text.split()
            found = (
                f"{len(words)} words"
                if right or len(words) != len(section.text.split())
                else "others"
            )
            yield Expectation(section.title, "while it is shown", planted, found, right)
        begin = end


def _chapters(film: DecodedLesson, lengths: Sequence[int]) -> Expectation:
    starts = [sum(lengths[:number]) / FPS for number in range(len(lengths))]
    planted = [(start, section.title) for start, section in zip(starts, SECTIONS, strict=True)]
    right = len(planted) == len(film.chapters) and all(
        abs(a[0] - b[0]) <= 1 / FPS and a[1] == b[1]
        for a, b in zip(planted, film.chapters, strict=False)
    )
    what = "at the sections' beginnings"
    return Expectation(
        "all",
        what,
        f"{len(planted)}",
        f"{len(film.chapters)}{'' if right else ', elsewhere'}",
        right,
    )


def _video(film: DecodedLesson, lengths: Sequence[int]) -> Iterator[Expectation]:
    planted = sum(lengths)
    yield _equal("frames", "decoded", planted, len(film.seen))
    apart = abs(film.ends.get("video", 0.0) - film.ends.get("audio", 9.0)) * FPS
    found = f"{apart:.2f} frames"
    yield Expectation("ends", "of picture and sound", "1 frame apart at most", found, apart <= 1)
    yield _equal("codecs", "", "h264, aac", ", ".join(film.codecs))
    order = all(a[1] <= b[0] + 1e-6 for a, b in pairwise(film.captions))
    yield _equal("captions", "one after the other", "yes", "yes" if order else "no")
    begun = "before it is all there" if film.plays_at_once else "once it is all there"
    yield _equal("plays", "in a browser", "before it is all there", begun)
    yield _equal("mark", "in the metadata", "Made by AI with Penstock.", film.comment)
    missing = [section.title for section in SECTIONS if section.damaged]
    gaps = [f"{one['title']}: {one['why']}" for one in film.told["gaps"]]
    right = [gap.partition(":")[0] for gap in gaps] == missing
    yield Expectation(
        "gaps", "told of", f"{missing[0]}, with why", "; ".join(gaps) or "none", right
    )


def _equal(name: str, what: str, planted: object, found: object) -> Expectation:
    return Expectation(name, what, str(planted), str(found), planted == found)
