"""What has to be decoded, as a table of packets plans it."""

from fractions import Fraction

import numpy as np

from stages.media.packets.table import Action, PacketFlag, PacketTable


def test_frames_of_temporal_layers_are_not_taken_for_useless():
    table = PacketTable("hevc", Fraction(1), 1, layered=True)
    table.times.extend([0, 1, 2])
    table.flags.extend([PacketFlag.KEYFRAME | PacketFlag.RESET, 0, 0])

    assert table.plan({1}) == [Action.DECODE] * 2
    table.layered = False
    assert table.plan({1}) == [Action.REFERENCE, Action.DECODE]


def test_without_usable_timestamps_all_is_decoded():
    table = PacketTable("h264", Fraction(1, 25), 1, ordered=False)
    table.times.extend([0, 1, 2])
    table.flags.extend([PacketFlag.KEYFRAME | PacketFlag.RESET] * 3)

    assert table.plan({1}) is None
    assert table.first_needed(Fraction(1)) == 0


def test_a_table_of_all_kinds_of_packets_plans_each_group_by_itself():
    table = PacketTable("h264", Fraction(1), 1)
    table.times.extend([0, 1, 2, 3, 4, 5, 6, 7])
    table.durations.extend([1] * 8)
    table.flags.extend([0] * 8)
    for reset in (0, 3, 6):
        table.flags[reset] = PacketFlag.KEYFRAME | PacketFlag.RESET
    skip, reference, decode = Action.SKIP, Action.REFERENCE, Action.DECODE

    assert table.plan({1, 5}) == [reference, decode, skip, reference, reference, decode]
    assert table.plan({6}) == [skip] * 6 + [decode]
    table.codec = "mpeg4"
    assert table.plan({0, 3}) == [decode, skip, skip, decode]
    assert table.plan({0, 4}) is None
    assert table.plan({2, 5}) is None
    assert np.array_equal(table.shown(), range(8))
