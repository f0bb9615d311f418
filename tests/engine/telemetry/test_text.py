"""Text and figures as people read them."""

import pytest

from engine.telemetry.text import duration, one_line, pace, seconds_of, size


def test_one_line_cannot_steer_a_terminal() -> None:
    assert one_line("a\nb\t c\x1b[31m\x07\r\x9b2J é") == "a b c [31m 2J é"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
    assert one_line("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (75, "1 min 15 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "1 d 01 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000_000, "2.0 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("per_second", "text"), [(123.4, "123/s"), (3.21, "3.2/s"), (0.2, "12/min"), (0.0002, "0.7/h")]
)
def test_paces(per_second: float, text: str) -> None:
    assert pace(per_second) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5 min", 90), (" 12h", 43200), ("7d", 604800), ("2w", 1209600)],
)
def test_times_that_people_write(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "1h30", "7d!"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time such as"):
        seconds_of(text)
