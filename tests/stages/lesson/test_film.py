"""Films of many clips: pictures and sound stay together."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from PIL import Image

from stages.lesson.captions import TimedText
from stages.lesson.clip import padded
from stages.lesson.film import FilmChapter, FilmPiece, write_film
from stages.lesson.still import write_still
from stages.lesson.voices.pcm import RATE, write_wav

FPS = 25
CLIPS = 110


def click(frames: int) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    """A click at the beginning of a clip."""
    samples: np.ndarray[tuple[int], np.dtype[np.int16]] = padded(None, frames, FPS, 0.0)
    samples[:48] = 20_000
    return samples


def clips(folder: Path) -> list[FilmPiece]:
    """Clips of odd lengths, each of another grey, with a click at its first frame."""
    made = []
    for number in range(CLIPS):
        frames = 3 + number % 7
        pictures, sound = folder / f"{number}.mp4", folder / f"{number}.wav"
        write_still(Image.new("RGB", (64, 64), (number * 2,) * 3), frames, FPS, 20, pictures)
        write_wav(click(frames), sound)
        made.append(FilmPiece(pictures, sound, frames))
    return made


def test_pictures_and_sound_stay_together_over_a_hundred_clips(tmp_path: Path) -> None:
    pieces = clips(tmp_path)
    film = tmp_path / "film.mp4"
    captions = [TimedText(1.0, 2.5, "Hello\nthere"), TimedText(2.5, 3.0, "ä")]
    chapters = [FilmChapter(0.0, 4.0, "One"), FilmChapter(4.0, 9.0, "Two")]
    write_film(pieces, captions, chapters, film, title="T", language="en", bitrate=96_000)
    begins = np.cumsum([0, *(piece.frames for piece in pieces)])
    with av.open(str(film)) as made:
        frames = [frame.to_ndarray(format="gray")[32, 32] for frame in made.decode(video=0)]
    assert len(frames) == begins[-1]
    shown = [int(frames[begin]) for begin in begins[:-1]]
    assert all(a < b for a, b in pairwise(shown)), "each clip at its frame"
    with av.open(str(film)) as made:
        heard = np.concatenate([f.to_ndarray()[0] for f in made.decode(audio=0)])
    assert abs(len(heard) / RATE - begins[-1] / FPS) <= 1 / FPS
    loud = np.abs(heard).reshape(-1)
    for begin in begins[:-1]:
        at = round(begin * RATE / FPS)
        near = loud[max(0, at - 960) : at + 1920]
        assert near.max() > 0.2, f"the click of frame {begin} is elsewhere"
    with av.open(str(film)) as made:
        ends = [
            Fraction(s.duration) * s.time_base for s in made.streams if s.type in ("video", "audio")
        ]
        assert abs(ends[0] - ends[1]) <= Fraction(1, FPS)
        assert [one["metadata"]["title"] for one in made.chapters()] == ["One", "Two"]
        text = [bytes(p)[2:] for p in made.demux(made.streams.subtitles[0]) if p.size > 2]
    assert [one.decode() for one in text] == ["Hello\nthere", "ä"]


def test_a_film_can_be_played_while_it_is_fetched(tmp_path: Path) -> None:
    write_film(
        clips(tmp_path)[:3], [], [], tmp_path / "a.mp4", title="", language="en", bitrate=96_000
    )
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
