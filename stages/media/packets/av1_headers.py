"""The dependencies between AV1 frames, read from their headers.

The decoder keeps eight frames. A header names those that its frame is predicted from (pixels,
motion, probabilities, segmentation and film grain alike come from no others) and those that it
replaces. So the frames that a frame needs are known exactly, without decoding.

Source: AV1 Bitstream & Decoding Process Specification, version 1.0.0 with errata 1, 5.3 to 5.9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

EVERY_SLOT = 0xFF

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_CHOSEN_BY_FRAME = 2
_HEADER_BYTES = 16
"""More bytes than the part of a frame's header that is read here can take."""


class Dependencies(NamedTuple):
    """A packet's effect on the decoder's eight slots: bit i stands for slot i."""

    reads: int
    """Slots that its frames are predicted from, or that it shows."""
    writes: int
    """Slots that its frames replace."""
    reset: bool
    """It begins with everything that a decoder needs to start afresh, and a shown keyframe: from
    here on nothing depends on earlier packets."""


UNKNOWN = Dependencies(EVERY_SLOT, EVERY_SLOT, False)
"""It may need everything, and everything after it may need it: always a safe assumption."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    screen_content: int
    integer_motion: int
    order_hint_bits: int


class _Bits:
    """Reads a header bit by bit, the most significant first; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            return 0
        return self._value >> self._left & ((1 << count) - 1)

    def skip_variable(self) -> None:
        """Skip a number in the format uvlc (4.10.3)."""
        zeros = 0
        while zeros < 32 and not self.read(1):
            zeros += 1
        self.read(zeros if zeros < 32 else 0)


class HeaderReader:
    """Reads one stream's packets, in decoding order."""

    def __init__(self) -> None:
        self._sequence: _Sequence | None = None
        self._sequence_data: bytes | None = None
        self._key_slots = 0
        self.steady = True
        """Whether all sequence headers so far are the same, so that any of them may be left out."""

    def dependencies(self, packet: bytes) -> Dependencies:
        """The dependencies of this packet (a temporal unit).

        UNKNOWN for rarely used features: scalable layers, frame numbers, decoder models.
        """
        reads = writes = 0
        described, reset = False, None
        for kind, data in _units(packet):
            if kind == _SEQUENCE_HEADER:
                self._begin_sequence(data)
                described = True
            elif kind in (_FRAME_HEADER, _FRAME):
                if reset is None:  # a keyframe that is shown: 0, 00, 1
                    reset = described and data[:1] != b"" and data[0] >> 4 == 1
                if self._sequence is None:
                    return UNKNOWN._replace(reset=reset)
                found = self._frame(_Bits(data[:_HEADER_BYTES]), self._sequence)
                reads |= found.reads & ~writes
                writes |= found.writes
        return UNKNOWN if reset is None else Dependencies(reads, writes, reset)

    def _begin_sequence(self, data: bytes) -> None:
        self.steady = self.steady and self._sequence_data in (None, data)
        self._sequence_data = data
        self._sequence = _sequence(_Bits(data))

    def _frame(self, bits: _Bits, sequence: _Sequence) -> Dependencies:
        """The uncompressed header (5.9.2), as far as the frames it refers to."""
        if bits.read(1):  # show_existing_frame
            slot = 1 << bits.read(3)
            if slot & self._key_slots:  # a keyframe shown late takes over every slot (7.21)
                self._key_slots = EVERY_SLOT
                return Dependencies(slot, EVERY_SLOT, False)
            return Dependencies(slot, 0, False)
        kind, shown = bits.read(2), bits.read(1)
        if not shown:
            bits.read(1)  # showable_frame
        resilient = kind == _SWITCH or (kind == _KEY and shown) or bits.read(1)
        bits.read(1)  # disable_cdf_update
        screen_content = sequence.screen_content
        if screen_content == _CHOSEN_BY_FRAME:
            screen_content = bits.read(1)
        if screen_content and sequence.integer_motion == _CHOSEN_BY_FRAME:
            bits.read(1)  # force_integer_mv
        if kind != _SWITCH:
            bits.read(1)  # frame_size_override_flag
        bits.read(sequence.order_hint_bits)
        intra = kind in (_KEY, _INTRA_ONLY)
        if not intra and not resilient:
            bits.read(3)  # primary_ref_frame, one of those below
        whole = kind == _SWITCH or (kind == _KEY and shown)
        writes = EVERY_SLOT if whole else bits.read(8)
        self._key_slots = self._key_slots & ~writes | (writes if kind == _KEY else 0)
        if intra:
            return Dependencies(0, writes, False)
        if resilient or (sequence.order_hint_bits and bits.read(1)):
            return Dependencies(EVERY_SLOT, writes, False)  # it may compare the order of all slots
        reads = 0
        for _ in range(7):
            reads |= 1 << bits.read(3)
        return Dependencies(reads, writes, False)


def _units(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """The type of each open bitstream unit (5.3), and its first bytes, enough to be read here."""
    position = 0
    while position < len(packet):
        header = packet[position]
        position += 2 if header & 4 else 1
        size = len(packet) - position
        if header & 2:
            size = shift = 0
            while position < len(packet):
                byte = packet[position]
                position += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
        kind = header >> 3 & 15
        taken = size if kind == _SEQUENCE_HEADER else min(size, _HEADER_BYTES)
        yield kind, packet[position : position + taken]
        position += size


def _sequence(bits: _Bits) -> _Sequence | None:
    """The sequence header (5.5), None where its features are not supported here."""
    bits.read(3 + 1)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        return None
    if bits.read(1):  # timing_info_present_flag
        bits.read(32 + 32)
        if bits.read(1):
            bits.skip_variable()
        if bits.read(1):  # decoder_model_info_present_flag
            return None
    delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        if bits.read(12):  # operating_point_idc: scalable
            return None
        if bits.read(5) > 7:  # seq_level_idx
            bits.read(1)
        if delays and bits.read(1):
            bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    bits.read(width_bits + height_bits)
    if bits.read(1):  # frame_id_numbers_present_flag
        return None
    bits.read(3 + 4)  # block size and intra tools; inter tools
    ordered = bits.read(1)
    if ordered:
        bits.read(2)
    screen_content = _CHOSEN_BY_FRAME if bits.read(1) else bits.read(1)
    integer_motion = _CHOSEN_BY_FRAME
    if screen_content and not bits.read(1):
        integer_motion = bits.read(1)
    return _Sequence(screen_content, integer_motion, bits.read(3) + 1 if ordered else 0)
