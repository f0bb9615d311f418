"""High dynamic range (PQ and HLG, ITU-R BT.2100) mapped to what a standard screen shows.

The steps, each with its source:

- signal to light: the EOTF of PQ (SMPTE ST 2084; BT.2100-2, table 4), and for HLG the inverse OETF
  and the OOTF for a screen of 1,000 cd/m² (BT.2100-2, table 5);
- highlights: the EETF of BT.2390-10, section 5.4.1, from 1,000 cd/m² to 203, on the largest of
  red, green and blue, so that hues stay. 203 cd/m² is HDR reference white (BT.2408-7): a white wall
  lands at nine tenths of the scale, and what shines brighter finds room above it;
- colours: from the primaries of BT.2020 (or P3) to those of BT.709, clipped (BT.2407-0, section 2);
- light to signal: the inverse of the EOTF of BT.1886, as standard video has it.

1,000 cd/m² is taken for the peak of every video, whatever its metadata say: so a frame comes out
the same wherever in the video decoding began.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]

PQ, HLG = 16, 18
"""FFmpeg's numbers for the transfer characteristics, those of ITU-T H.273."""

NAMES = {PQ: "pq", HLG: "hlg"}

PEAK = 1000.0
"""The assumed luminance of the brightest highlight, in cd/m²."""

WHITE = 203.0
"""The luminance, in cd/m², that becomes the brightest white of the picture."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

_LUMINANCE = (0.2627, 0.6780, 0.0593)
"""Red's, green's and blue's share of luminance with the primaries of BT.2020."""

_D65 = (0.3127, 0.3290)
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_PRIMARIES = {1: _BT709, 9: _BT2020, 11: _P3, 12: _P3}
"""Chromaticities of red, green and blue by H.273's numbers; HDR that does not say has BT.2020's."""


def map_to_sdr(
    signal: "np.ndarray[Any, np.dtype[np.uint16]]", transfer: int, primaries: int
) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A picture of shape (height, width, 3), in red, green, blue, 0 to 65535, as 0 to 255.

    `transfer` is PQ or HLG, `primaries` H.273's number.
    """
    import numpy as np

    light = _to_light(transfer)[signal]
    if transfer == HLG:
        luminance = light @ np.array(_LUMINANCE, np.float32)
        light *= PEAK * np.maximum(luminance, 1e-6)[:, :, None] ** np.float32(0.2)
    brightest, kept = _highlights()
    light *= np.interp(light.max(axis=2), brightest, kept).astype(np.float32)[:, :, None]
    light = light @ _to_bt709(primaries).T
    shown = np.clip(light / np.float32(WHITE), 0, 1) ** np.float32(1 / 2.4)
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(255 * shown).astype(np.uint8)
    return pixels


@cache
def _to_light(transfer: int) -> "Floats":
    """The light of each of the 65,536 levels: for PQ in cd/m², for HLG scene light from 0 to 1."""
    import numpy as np

    signal = np.arange(65536) / 65535
    light = pq_to_light(signal) if transfer == PQ else hlg_to_scene(signal)
    return light.astype(np.float32)


@cache
def _highlights() -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Levels of light in cd/m², ascending, and the share of each that is kept."""
    import numpy as np

    light = pq_to_light(np.linspace(0, 1, 4097)[1:])
    return light, compress(light) / light


@cache
def _to_bt709(primaries: int) -> "Floats":
    """The matrix that takes linear red, green and blue of these primaries to those of BT.709."""
    import numpy as np

    source = _to_xyz(_PRIMARIES.get(primaries, _BT2020))
    matrix: Floats = (np.linalg.inv(_to_xyz(_BT709)) @ source).astype(np.float32)
    return matrix


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> "np.ndarray[Any, Any]":
    """The matrix from linear red, green and blue to CIE XYZ, white being D65 (SMPTE RP 177)."""
    import numpy as np

    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = _D65
    white = np.array([x / y, 1, (1 - x - y) / y])
    return columns * np.linalg.solve(columns, white)


def pq_to_light(signal: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """PQ's EOTF: a signal from 0 to 1 as light in cd/m²."""
    import numpy as np

    power = np.asarray(signal, float) ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def light_to_pq(light: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The inverse of PQ's EOTF: cd/m² as a signal from 0 to 1."""
    import numpy as np

    power = (np.asarray(light, float) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_to_scene(signal: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The inverse of HLG's OETF: a signal as light in the scene, both from 0 to 1."""
    import numpy as np

    signal = np.asarray(signal, float)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)


def compress(light: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """BT.2390's EETF: cd/m² of a video with highlights up to PEAK, on a screen that has WHITE."""
    import numpy as np

    peak = light_to_pq(np.array(PEAK))
    most = light_to_pq(np.array(WHITE)) / peak
    knee = 1.5 * most - 0.5
    level = np.minimum(light_to_pq(light) / peak, 1)
    t = np.maximum(level - knee, 0) / (1 - knee)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return pq_to_light(np.where(level < knee, level, bent) * peak)
