"""What the tests of downloading share: small clips made on the spot, and one attempt at an item."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine import Item
from engine.ledger.outputs.folders import open_scratch
from stages.fetch.download import Download

ENCODERS = {".webm": ("libvpx", "yuv420p"), ".gif": ("gif", "rgb8")}
"""Encoder and pixel format by a file's ending; H.264 for all others."""


def make_clip(
    path: Path, *, seconds: float = 1.0, width: int = 64, height: int = 48, noise: bool = False
) -> Path:
    """A clip at 10 frames a second; `noise` makes it large for its length."""
    generator = np.random.default_rng(7)
    encoder, pixel_format = ENCODERS.get(path.suffix, ("libx264", "yuv420p"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for index in range(int(seconds * 10)):
            pixels = np.full((height, width, 3), index * 5 % 256, dtype=np.uint8)
            if noise:
                pixels = generator.integers(0, 256, pixels.shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def make_sound(path: Path, *, cover: bool = False) -> Path:
    """A second of silence, with or without a cover picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            grey = np.full((48, 64, 3), 128, dtype=np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(picture.encode())
        samples = np.zeros((1, 1024), dtype=np.float32)
        for _ in range(16):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@contextmanager
def opened(workdir: Path, **settings: Any) -> Iterator[Download]:
    """A Download stage that may fetch from this machine unless told otherwise."""
    stage = Download(Download.Settings(**({"allow_private": True} | settings)), workdir)
    stage.open()
    try:
        yield stage
    finally:
        stage.close()


def attempt(stage: Download, source: str) -> tuple[Path, Any]:
    """One attempt at `source`: its scratch folder, and what `process` returned."""
    item = Item.at(stage.workdir, source)
    out = open_scratch(item, stage.name)
    return out, stage.process(item, out)


def fetch(workdir: Path, source: str, **settings: Any) -> Path:
    """The folder that an attempt at a single video filled."""
    with opened(workdir, **settings) as stage:
        out, produced = attempt(stage, source)
        assert produced is None
        return out


def read(out: Path, name: str = "info.json") -> Any:
    return json.loads((out / name).read_text())
