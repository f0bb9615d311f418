"""What services answer, in all the shapes that they have, and the segments that come of it."""

from typing import Any

import pytest

from stages.calls.api import UnexpectedReply
from stages.speech.audio_file import BYTES_PER_SECOND, decode, encode
from stages.speech.heard import SpeechClip, heard, segments_of
from stages.speech.profiles import profile_of
from stages.speech.transcript_words import Stretch, Word
from stages.speech.transcription_api import TranscriptionAPI

SPEECH = [Stretch(0.5, 2.5)]


def segments(payload: dict[str, Any]) -> list[tuple[str, list[tuple[float, float, str]], bool]]:
    answer = heard(payload)
    assert answer is not None
    again = heard(answer.entry())
    assert again == answer
    return [
        (one.text, [(word.start, word.end, word.word) for word in one.words], one.estimated)
        for one in segments_of(answer, SPEECH)
    ]


def test_words_apart_belong_to_the_segment_that_they_are_said_in():
    payload = {
        "text": "One two. Three.",
        "language": "english",
        "segments": [
            {"start": 0, "end": 2, "text": " One two.", "avg_logprob": -0.2, "tokens": [1]},
            {"start": 2, "end": 3, "text": " Three."},
        ],
        "words": [
            {"start": 0, "end": 1, "word": "one"},
            {"start": 1, "end": 1.9, "word": "two"},
            {"start": 2.1, "end": 3, "word": "three"},
        ],
    }
    assert segments(payload) == [
        ("One two.", [(0, 1, "One"), (1, 1.9, "two.")], False),
        ("Three.", [(2.1, 3, "Three.")], False),
    ]


def test_words_within_segments_are_as_good():
    words = [{"start": 0, "end": 1, "word": " Hi", "probability": 0.9}]
    payload = {"segments": [{"start": 0, "end": 1, "text": " Hi", "words": words}], "words": None}
    assert segments(payload) == [("Hi", [(0, 1, "Hi")], False)]


def test_words_without_segments_are_sentences_and_what_pauses_part():
    times = [(0, 1, "one"), (1, 2, "two"), (2, 3, "three"), (5, 6, "four")]
    words = [{"start": start, "end": end, "word": word} for start, end, word in times]
    assert [text for text, *_ in segments({"text": "One two. Three four", "words": words})] == [
        "One two.",
        "Three",
        "four",
    ]


def test_segments_without_words_and_text_without_segments_are_spread():
    payload = {"text": "a b", "segments": [{"start": 1, "end": 3, "text": "a b"}]}
    assert segments(payload) == [("a b", [(1, 2, "a"), (2, 3, "b")], True)]
    assert segments({"text": "a b"}) == [("a b", [(0.5, 1.5, "a"), (1.5, 2.5, "b")], True)]
    assert segments({"text": ""}) == []


@pytest.mark.parametrize("payload", [[], {}, {"text": None}, {"choices": []}, "text"])
def test_what_is_no_transcription_is_refused(payload):
    api = TranscriptionAPI("http://x/v1", "m", "word")
    with pytest.raises(UnexpectedReply):
        api.reply(payload)


def test_odd_entries_are_left_out():
    payload = {"text": "a", "segments": [None, {"start": "0"}], "words": [{"word": " "}, 3]}
    assert segments(payload) == [("a", [(0.5, 2.5, "a")], True)]


def test_where_requests_go():
    assert TranscriptionAPI("http://x/v1/", "m", "word").url == "http://x/v1/audio/transcriptions"
    azure = TranscriptionAPI("https://me.openai.azure.com", "my whisper", "word", azure=True)
    assert azure.url == (
        "https://me.openai.azure.com/openai/deployments/my%20whisper/audio/transcriptions"
        "?api-version=2024-10-21"
    )
    assert azure.headers("k") == {"api-key": "k"}


def test_a_server_without_times_is_asked_for_plain_json_from_then_on():
    api = TranscriptionAPI("http://x/v1", "m", "word")
    sent = api.request(SpeechClip(b"sound", "flac", language="en"))
    assert b'name="language"\r\n\r\nen' in sent.content
    assert b"verbose_json" in sent.content
    assert b'name="timestamp_granularities[]"\r\n\r\nword' in sent.content
    assert not api.adapt(sent, "file")
    assert api.adapt(sent, "response_format")
    plain = api.request(SpeechClip(b"sound", "flac"))
    assert b"verbose_json" not in plain.content
    assert b"granularities" not in plain.content
    assert not api.adapt(plain, "response_format")


def test_only_whisper_gives_times():
    assert profile_of("openai", None, None).chunk_seconds == 900
    plain = profile_of("openai", "gpt-4o-transcribe", None)
    assert (plain.granularity, plain.chunk_seconds, plain.max_seconds) == ("none", 30, 30)
    assert profile_of("azure", None, None).requests_per_minute == 3


def test_sound_comes_back_as_it_went(noise):
    for form, length in (("flac", 5.0), ("ogg", 5.0)):
        samples = noise(length)
        content = encode(samples, form)
        assert content == encode(samples, form)
        assert len(content) <= BYTES_PER_SECOND[form] * length
        back = decode(content)
        if form == "flac":
            assert (back == samples).all()
        assert abs(len(back) - len(samples)) <= 320


def test_a_word_may_end_before_it_starts():
    payload = {"text": "a", "words": [{"start": 2, "end": 1, "word": "a"}]}
    answer = heard(payload)
    assert answer is not None
    assert segments_of(answer, SPEECH)[0].words == (Word(2, 2, "a"),)
