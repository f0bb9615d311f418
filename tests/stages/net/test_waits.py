"""What a server's headers say of how long to wait, whatever stands in them."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from stages.net.waits import read_retry_after, read_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 2.5 ", 2.5), ("-3", 0.0), ("0", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_a_wait_is_read(text: str, seconds: float) -> None:
    assert read_retry_after(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "-nan",
        "inf",
        "-Infinity",
        "1e400",
        "9" * 400,
        "soon",
        "Mon, 01 Jan 10000 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2030 00:00:00 +99999999999999999999",
        "Mon, 31 Feb 2030 00:00:00 GMT",
    ],
)
def test_what_says_no_time_is_none(text: str) -> None:
    assert read_retry_after(text) is None
    assert read_seconds(text) is None


def test_a_moment_is_counted_from_now() -> None:
    moment = datetime.now(UTC) + timedelta(minutes=3)
    for text in (format_datetime(moment, usegmt=True), format_datetime(moment)):
        assert read_retry_after(text) == pytest.approx(180, abs=5)


def test_nothing_that_a_server_makes_up_is_an_error() -> None:
    chance = random.Random(7)
    parts = ["Mon,", "31", "Feb", "2030", "00:00:00", "9" * 11, "GMT", "-2359", ":", "(", '"', "é"]
    for _ in range(5000):
        seconds = read_retry_after(chance.choice(("", " ")).join(chance.choices(parts, k=6)))
        assert seconds is None or seconds >= 0
