"""High dynamic range, by the values that the standards state."""

import av
import numpy as np
import pytest

from stages.media.pictures.rendering import Renderer
from stages.media.pictures.tone_mapping import (
    HLG,
    PQ,
    compress,
    hlg_to_scene,
    light_to_pq,
    map_to_sdr,
    pq_to_light,
)

WHITE_AT_203 = 0.5807
"""PQ's signal for 203 cd/m² (ITU-R BT.2408-7, table 1: 58 %)."""


@pytest.mark.parametrize(
    ("signal", "light"), [(0, 0), (0.5081, 100), (WHITE_AT_203, 203), (0.7518, 1000), (1, 10_000)]
)
def test_pq_is_light_as_st_2084_has_it(signal: float, light: float) -> None:
    assert float(pq_to_light(np.array(signal))) == pytest.approx(light, rel=2e-3)
    assert float(light_to_pq(np.array(float(light)))) == pytest.approx(signal, abs=1e-4)


@pytest.mark.parametrize(("signal", "light"), [(0, 0), (0.5, 1 / 12), (0.75, 0.265), (1, 1)])
def test_hlg_is_scene_light_as_bt_2100_has_it(signal: float, light: float) -> None:
    assert float(hlg_to_scene(np.array(signal))) == pytest.approx(light, abs=1e-4)


def test_highlights_are_bent_and_the_rest_is_left_alone() -> None:
    light = np.array([0.0, 1, 20, 90, 203, 500, 1000, 4000, 10_000])

    shown = compress(light)

    assert shown[:4] == pytest.approx(light[:4], rel=1e-3, abs=1e-6)
    assert 150 < shown[4] < 170
    assert np.all(np.diff(shown) >= 0)
    assert shown[6:] == pytest.approx(203, rel=1e-3)


def grey(signal: float, transfer: int) -> int:
    """What an evenly grey picture of that signal becomes; each channel must be the same."""
    picture = np.full((2, 2, 3), round(signal * 65535), np.uint16)
    red, green, blue = map_to_sdr(picture, transfer, 9)[0, 0].tolist()
    assert red == green == blue
    return int(red)


def test_reference_white_is_as_bright_in_pq_and_in_hlg() -> None:
    """203 cd/m², and 75 % of HLG: 159 cd/m² of the 203 that are white, by BT.1886."""
    expected = round(255 * (159 / 203) ** (1 / 2.4))

    assert grey(WHITE_AT_203, PQ) == pytest.approx(expected, abs=1)
    assert grey(0.75, HLG) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_black_stays_black_white_becomes_white_and_all_between_is_in_order(transfer: int) -> None:
    levels = [grey(signal, transfer) for signal in np.linspace(0, 1, 50)]

    assert (levels[0], levels[-1]) == (0, 255)
    assert levels == sorted(levels)


def test_colours_go_from_one_set_of_primaries_to_the_other() -> None:
    """Red of BT.709 in the primaries of BT.2020 (BT.2087-0) is red alone again."""
    linear = np.array([0.6274, 0.0691, 0.0164]) * 50
    picture = np.broadcast_to(np.rint(light_to_pq(linear) * 65535), (2, 2, 3)).astype(np.uint16)

    red, green, blue = map_to_sdr(picture, PQ, 9)[0, 0].tolist()

    assert red == pytest.approx(255 * (50 / 203) ** (1 / 2.4), abs=2)
    assert max(green, blue) < 12
    assert map_to_sdr(picture, PQ, 1)[0, 0, 1] > 40  # these are BT.709's already


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "pq"), (HLG, "hlg")])
@pytest.mark.parametrize("form", ["yuv420p10le", "yuv444p16le", "gbrp10le", "yuva444p10le", "nv12"])
def test_any_pixel_format_is_mapped(transfer: int, name: str, form: str) -> None:
    level = round(WHITE_AT_203 * 255) if transfer == PQ else round(0.75 * 255)
    picture = np.full((32, 48, 4), level, np.uint8)
    picture[:, :, 3] = 255
    frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=form)
    frame.color_trc = transfer
    renderer = Renderer(0)

    found = renderer.render(frame)

    assert found.shape == (32, 48, 3)
    assert abs(float(found.mean()) - 229) < 4
    assert renderer.tone_mapped == {name}


@pytest.mark.parametrize("transfer", [1, 2, 6, 13, 14])
def test_standard_dynamic_range_is_left_alone(transfer: int) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (32, 48, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
    frame.color_trc = transfer
    renderer = Renderer(0)

    assert np.array_equal(renderer.render(frame)[:, :, ::-1], noise)
    assert renderer.tone_mapped == set()
