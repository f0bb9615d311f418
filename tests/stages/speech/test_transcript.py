"""Chunks become one transcript."""

from stages.speech.chunk_files import SavedChunk
from stages.speech.heard import SpeechClip
from stages.speech.hearing import entry_of, filled, segment_of
from stages.speech.transcript import ToldChunk, joined
from stages.speech.transcript_words import SpeechSegment, Stretch, Word

CLIP = SpeechClip(b"", "flac")


def segment(*words: tuple[float, float, str]) -> SpeechSegment:
    return SpeechSegment(" ".join(word for *_, word in words), tuple(Word(*one) for one in words))


def chunk(
    start: float, end: float, *words: tuple[float, float, str], shares: Stretch | None = None
) -> ToldChunk:
    """A chunk with a segment of these words; None of them where it failed."""
    pieces = (Stretch(start, end),)
    told = {"segments": [entry_of(segment(*words))]} if words else None
    return ToldChunk(SavedChunk(CLIP, pieces, pieces, None, shares), told)


def said(found: list[SpeechSegment]) -> str:
    return " ".join(word.word for one in found for word in one.words)


def test_what_two_chunks_share_is_said_once_also_where_it_repeats() -> None:
    shared = Stretch(8, 12)
    one = ((7, 8, "ask"), (8, 9, "not"), (9, 9.6, "ask"), (9.6, 10.1, "not"), (10.1, 11, "what"))
    two = ((8, 8.7, "what"), (9, 9.5, "ask"), (9.5, 10.2, "not"), (10.2, 11, "what"))
    first = chunk(0, 12, *one, (11.4, 12, "yo"), shares=shared)
    second = chunk(8, 20, *two, (11.4, 12.1, "you"), (12.1, 13, "can"))
    assert said(joined([first, second])) == "ask not ask not what you can"


def test_a_word_that_two_chunks_hear_at_other_times_is_said_once() -> None:
    """A model places words that come before or after a pause off by more than a word."""
    shared = Stretch(26, 30)
    one = ((25, 25.5, "the"), (25.5, 26.2, "other"), (26.7, 27.3, "way."))
    two = ((26.1, 26.5, "other"), (28.6, 29.2, "way"), (29.3, 29.6, "in"), (29.6, 30.2, "short"))
    first = chunk(0, 30, *one, (29.1, 29.5, "In"), shares=shared)
    assert said(joined([first, chunk(26, 50, *two)])) in (
        "the other way. in short",
        "the other way. In short",
    )
    late = chunk(0, 30, *one[:-1], (28.6, 29.2, "way."), (29.3, 29.6, "In"), shares=shared)
    early = chunk(26, 50, two[0], (26.7, 27.3, "way"), *two[2:])
    assert said(joined([late, early])).lower().replace(".", "") == "the other way in short"


def test_where_a_neighbour_failed_all_of_a_chunk_counts() -> None:
    words = ((8.0, 9.0, "one"), (11.0, 12.0, "two"))
    lost = chunk(12, 20)
    assert said(joined([chunk(0, 12, *words, shares=Stretch(8, 12)), lost])) == "one two"
    failed = ToldChunk(lost.chunk, None)
    assert said(joined([failed, chunk(20, 30, (21, 22, "three"))])) == "three"


def test_words_for_a_hole_are_those_between_its_neighbours() -> None:
    known = [segment((0, 1, "a"), (1, 2, "b")), segment((8, 9, "e"))]
    more = [segment((1, 1.9, "b"), (3, 4, "c"), (5, 6, "d"), (8.1, 9, "e"))]
    assert said(filled(known, more, Stretch(2, 8))) == "a b c d e"


def test_a_segment_is_written_and_read() -> None:
    one = SpeechSegment("a", (Word(1, 2, "a"),), estimated=True, foreign=True, avg_logprob=-0.5)
    assert segment_of(entry_of(one)) == one
    assert entry_of(one)["doubtful"]
