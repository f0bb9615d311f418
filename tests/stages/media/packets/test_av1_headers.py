"""What AV1 frames refer to: against real encoders' streams, and on headers written bit by bit."""

from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.media.packets.av1_headers import EVERY_SLOT, UNKNOWN, Dependencies, HeaderReader
from tests.stages.clips import make_clip, moving_picture


def packed(bits: str) -> bytes:
    """These bits, closed as an open bitstream unit is."""
    bits = bits.replace(" ", "") + "1"
    return bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))


def unit(kind: int, payload: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(payload)]) + payload


DELIMITER = unit(2, b"")
ORDERED = "1 00" + "1" + "1" + "110"  # order hints of 7 bits; tools chosen by each frame


def sequence(ending: str = ORDERED, point: str = "000000000000", frame_ids: str = "0") -> bytes:
    """A sequence header of profile 0 without timing: 256x128 pixels, level 2.0."""
    start = "000 0 0" + "0" + "0 00000" + point + "00000"
    return unit(1, packed(start + "0111 0110 11111111 1111111" + frame_ids + "000 0000" + ending))


def frame(*, kind: str, refresh: int = 0, references=range(7), shown="1", resilient="0") -> bytes:
    """A frame header with the order hint 5, and the tools of `ORDERED`: no screen content."""
    bits = "0" + kind + shown + ("" if shown == "1" else "1")
    whole = kind == "11" or (kind == "00" and shown == "1")
    bits += "" if whole else resilient
    bits += "0 0" + ("" if kind == "11" else "0") + "0000101"
    if kind == "01" and resilient == "0":
        bits += "000"
    bits += "" if whole else f"{refresh:08b}"
    if kind == "01" and resilient == "0":
        bits += "0" + "".join(f"{slot:03b}" for slot in references)
    return unit(6, packed(bits + "0" * 60))


KEYFRAME = frame(kind="00")
BEGINNING = DELIMITER + sequence() + KEYFRAME


@given(refresh=st.integers(0, 255), references=st.lists(st.integers(0, 7), min_size=7, max_size=7))
def test_an_inter_frame_reads_what_it_names_and_writes_what_it_replaces(refresh, references):
    reader = HeaderReader()
    assert reader.dependencies(BEGINNING) == (0, EVERY_SLOT, True)

    found = reader.dependencies(
        DELIMITER + frame(kind="01", refresh=refresh, references=references)
    )

    assert found == (sum(1 << slot for slot in set(references)), refresh, False)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (KEYFRAME, (0, EVERY_SLOT, False)),  # a decoder could not start here: no sequence header
        (sequence() + frame(kind="00", shown="0", refresh=4), (0, 4, False)),
        (frame(kind="10", refresh=6), (0, 6, False)),
        (frame(kind="01", refresh=1, resilient="1"), (EVERY_SLOT, 1, False)),
        (frame(kind="11"), (EVERY_SLOT, EVERY_SLOT, False)),
        (unit(3, packed("1 101")), (0b100000, 0, False)),
        (unit(5, b"\x01\x02") + unit(15, b""), UNKNOWN),
    ],
)
def test_other_kinds_of_packets(units, expected):
    reader = HeaderReader()
    reader.dependencies(BEGINNING)
    reader.dependencies(DELIMITER + frame(kind="01", refresh=EVERY_SLOT))

    assert reader.dependencies(DELIMITER + units) == Dependencies(*expected)


def test_what_a_packet_s_own_frames_leave_is_not_read_from_before():
    reader = HeaderReader()
    reader.dependencies(BEGINNING)
    hidden = frame(kind="01", shown="0", refresh=0b10, references=[0] * 7)

    found = reader.dependencies(DELIMITER + hidden + frame(kind="01", references=[1, 2] * 3 + [1]))

    assert found == (0b101, 0b10, False)


def test_a_keyframe_that_is_shown_late_takes_every_slot():
    reader = HeaderReader()
    reader.dependencies(BEGINNING)
    reader.dependencies(DELIMITER + frame(kind="01", refresh=EVERY_SLOT))
    reader.dependencies(DELIMITER + frame(kind="00", shown="0", refresh=1 << 5))

    assert reader.dependencies(DELIMITER + unit(3, packed("1 101"))) == (32, EVERY_SLOT, False)


@pytest.mark.parametrize("header", [sequence(point="000100000011"), sequence(frame_ids="1")])
def test_what_is_not_followed_may_need_everything(header):
    reader = HeaderReader()

    found = reader.dependencies(DELIMITER + header + KEYFRAME)

    assert found == (EVERY_SLOT, EVERY_SLOT, True)
    assert reader.dependencies(DELIMITER + frame(kind="01"))[:2] == UNKNOWN[:2]


def test_a_change_of_the_sequence_header_is_noticed():
    reader = HeaderReader()
    reader.dependencies(BEGINNING)
    assert reader.dependencies(BEGINNING).reset
    assert reader.steady

    reader.dependencies(DELIMITER + sequence(ending="0 1 1") + KEYFRAME)

    assert not reader.steady


@given(st.binary(max_size=80))
def test_no_packet_however_broken_stops_the_reader(data):
    reader = HeaderReader()
    reader.dependencies(BEGINNING)
    reads, writes, _ = reader.dependencies(data)
    assert 0 <= reads <= EVERY_SLOT
    assert 0 <= writes <= EVERY_SLOT


def test_frames_nobody_refers_to_are_found_in_a_real_stream(tmp_path):
    clip = make_clip(
        tmp_path / "clip.mp4",
        range(60),
        time_base=Fraction(1, 25),
        codec="libsvtav1",
        options={"g": "30", "preset": "11"},
        size=(160, 96),
        rate=25,
        picture=moving_picture,
    )
    reader = HeaderReader()
    with av.open(str(clip)) as container:
        found = [reader.dependencies(bytes(it)) for it in container.demux(video=0) if it.size]

    assert [at for at, it in enumerate(found) if it.reset] == [0, 30]
    assert sum(1 for it in found if not it.writes) > 20
    held = 0
    for reads, writes, reset in found:
        held = EVERY_SLOT if reset else held
        assert reads & ~held == 0
        held |= writes
