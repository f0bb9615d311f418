"""The beginnings of packets of H.264 and HEVC."""

import pytest

from stages.media.packets.nal_units import beginning, is_reset


@pytest.mark.parametrize(
    ("codec", "unit", "reset"),
    [
        ("h264", 0x65, True),
        ("h264", 0x41, False),
        ("hevc", 0x26, True),  # IDR_W_RADL
        ("hevc", 0x28, True),  # IDR_N_LP
        ("hevc", 0x2A, False),  # CRA: frames shown before it may reach further back
    ],
)
def test_where_a_decoder_starts_afresh(codec, unit, reset):
    parameters = 0x67 if codec == "h264" else 0x42
    configuration = bytes([1] + [0] * 3 + [3] + [0] * 16 + [3])
    by_start_code = bytes([0, 0, 0, 1, parameters, 9, 0, 0, 1, unit, 1, 5])
    by_length = bytes([0, 0, 0, 2, parameters, 9, 0, 0, 0, 3, unit, 1, 5])

    for data, extradata in ((by_start_code, None), (by_length, configuration)):
        header, _ = beginning(codec, data, extradata)
        assert header == unit << 8 | 1
        assert is_reset(codec, header) is reset
    assert beginning(codec, by_start_code[:6], None).slice == 0
