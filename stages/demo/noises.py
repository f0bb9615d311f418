"""Sounds with a name: what the tagger that ships with Penstock has learnt to hear."""

from typing import Any

from stages.sound.track import RATE

SOUNDS = ("Tone", "Noise", "Clicks")


def sound(name: str, times: Any, chance: Any) -> Any:
    """One of SOUNDS at these times in seconds, at full scale; `chance` is numpy's random
    generator, and decides its pitch or pace."""
    import numpy as np

    if name == "Tone":
        return np.sin(2 * np.pi * 10 ** chance.uniform(2.2, 3.6) * times)
    if name == "Noise":
        return chance.uniform(-1, 1, len(times))
    every, long = int(RATE * chance.uniform(0.15, 0.5)), 160
    ticks = np.zeros(len(times))
    for at in range(int(chance.uniform(0, every)), len(times) - long, every):
        ticks[at : at + long] = chance.uniform(-1, 1, long) * np.linspace(1, 0, long)
    return ticks
