"""Which frame takes whose description."""

import random
import time
from pathlib import Path

import anyio
import pytest

from stages.crawl.originals import Original, Originals

FILES = "0123456789abcdefghijklmnopqrstuvwxyz"


def settled(originals: Originals, item: str, file: str, value: int) -> Original:
    original = originals.claims(item, FILES).claim_alone(file, value)
    anyio.run(originals.settle, original, f"reply to {item}/{file}")
    return original


def test_the_nearest_within_the_distance_and_of_those_the_first() -> None:
    originals = Originals(distance=3)
    settled(originals, "a", "1", 0b111)
    nearest = settled(originals, "b", "2", 0b1)
    settled(originals, "c", "3", 0b10)
    assert originals.claims("x", FILES).claim("f", 0b0) == (nearest, False)
    assert originals.claims("x", FILES).claim("g", 0xFFFF_FFFF_FFFF_FFFF)[1]


def test_the_distance_is_inclusive_and_counts_the_highest_bit() -> None:
    originals = Originals(distance=2)
    settled(originals, "a", "1", 0)
    assert originals.claims("x", FILES).claim("f", 1 << 63 | 1)[1] is False
    assert originals.claims("y", FILES).claim("f", 1 << 63 | 3)[1] is True


def test_who_waits_is_woken_by_the_reply_or_by_the_failure() -> None:
    async def main() -> None:
        originals = Originals(distance=0)
        claims = originals.claims("a", FILES)
        good, bad = claims.claim_alone("1", 1), claims.claim_alone("2", 2)
        results: dict[str, bool] = {}

        async def wait(name: str, original: Original) -> None:
            results[name] = await original.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "good", good)
            tasks.start_soon(wait, "bad", bad)
            await anyio.wait_all_tasks_blocked()
            assert results == {}
            await originals.settle(good, "key")
            claims.end()  # what it leaves without a reply has failed
        assert results == {"good": True, "bad": False}
        assert originals.claims("b", FILES).claim("f", 2)[1] is True

    anyio.run(main)


def test_the_file_remembers_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "described.jsonl"
    settled(Originals(4, file), "a", "1", 0xF0)
    with file.open("a") as stream:
        stream.write('{"item": "a", "fi')
    again = Originals(4, file)
    settled(again, "a", "2", 0xFF00)
    for originals in (again, Originals(4, file)):
        assert originals.claims("x", FILES).claim("f", 0xF1)[0].frame == "a/1"
        assert originals.claims("x", FILES).claim("g", 0xFF01)[0].frame == "a/2"
    assert len(file.read_text().splitlines()) == 3


def test_an_items_own_frames_of_an_earlier_attempt_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "described.jsonl"
    first = Originals(4, file)
    settled(first, "a", "2", 0b11)
    resumed = Originals(4, file)
    claims = resumed.claims("a", FILES)
    assert claims.claim("1", 0b1)[1] is True
    # As in an attempt from the start: the first in the video's order is the original.
    original, own = claims.claim("2", 0b11)
    assert (original.frame, own) == ("a/1", False)


@pytest.mark.alone
def test_a_hundred_thousand_originals_are_searched_in_no_time(tmp_path: Path) -> None:
    values = random.Random(1)
    file = tmp_path / "described.jsonl"
    line = '{{"item": "i{0}", "file": "f", "hash": "{1:016x}", "reply": "k"}}\n'
    file.write_text("".join(line.format(n, values.getrandbits(64)) for n in range(100_000)))
    originals = Originals(8, file)
    claims = originals.claims("x", FILES)
    begin = time.process_time()
    for number in range(200):
        claims.claim(str(number), values.getrandbits(64))
    assert (time.process_time() - begin) / 200 < 0.005
