"""`Sink`: what takes a video's document and the records of its scenes; and `VideoRecords`."""

import hashlib
import json
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

Record = Mapping[str, Any]
"""A scene's record, JSON-able, with at least `index`, `start` and `end`."""


@dataclass(frozen=True)
class VideoRecords:
    """A whole video, as a sink takes it: its id, its document, and its scenes' records in order.

    The document is JSON-able and has what is known of the video as a whole: `source`, `title`,
    `length`, and a `summary` where there is one.
    """

    video: str
    document: Record
    scenes: Sequence[Record]

    @cached_property
    def generation(self) -> str:
        """A hash of all of it: the same records are the same generation, in every run."""
        whole = [self.video, self.document, list(self.scenes)]
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class WrittenVideo:
    """What a sink has of a video: a generation, and the turn in which it was written."""

    generation: str
    turn: int = 0
    """0: by a version that knew no turns."""


def next_turn(given: int) -> int:
    """The turn after the last one that a sink has given. It follows the clock where that is ahead,
    so that a sink which was made anew gives no turn a second time; where it is not, as on a machine
    whose clock is slow, it is still the higher one."""
    return max(given + 1, int(time.time() * 1000))


def gone_name(video: str) -> bytes:
    """The name of a video's mark, 16 bytes: it does not tell what was taken out."""
    return hashlib.sha256(video.encode("utf-8", "surrogatepass")).digest()[:16]


class Sink(AbstractContextManager["Sink"], Protocol):
    """A store of videos that others read. Leaving it as a context closes it.

    A video is there whole, in one generation, or not at all: whoever reads at any moment, and
    wherever the process is killed, finds the old scenes or the new ones. Methods raise UsageError
    where the store cannot be used as it is set, StopRun where the disk is full.

    Several processes may write at once, also from several machines, and also the same video. The
    sink itself says who is the later one: it gives turns, each higher than all before, and of the
    same video a lower turn never takes the place of a higher one, however late it comes. So no
    clocks are compared, and who stood still for a while does no harm. To take a video out has a
    turn too, and leaves a mark with it: no lower turn puts the video back. A mark is small, and
    goes when the video is put in again.
    """

    def begin(self) -> int:
        """The turn of a write that begins now, before the records are read."""

    def write(self, records: VideoRecords, turn: int | None = None) -> bool:
        """Put the video in the place of what is there under its id, unless that is of a later
        turn, or it was taken out in one; returns whether it is there now. Scenes that it no longer
        has are gone. To write it again changes nothing. None: in a turn of its own."""

    def remove(self, video: str, turns: Collection[int] | None = None) -> bool:
        """Take the video out, whoever has written it until now; with `turns` only where it was
        written in one of these, and others that have begun may still put theirs there. Returns
        whether it was taken out."""

    def written(self) -> Mapping[str, WrittenVideo]:
        """The videos that are there, whoever wrote them."""


class VectorSink(Sink, Protocol):
    """A sink that keeps what models make of texts, by which these are found. Vectors are
    little-endian float32, of length 1. They stand for themselves, so that no text is paid for
    twice, until no video has the text any more."""

    @property
    def place(self) -> Hashable:
        """Where they are kept: another such sink of the same place has the same ones."""

    def without_vector(self, model: str, texts: Iterable[str]) -> list[str]:
        """Those of the texts that the model has made no vector of, each once."""

    def vectors_of(self, model: str, texts: Iterable[str]) -> dict[str, bytes]:
        """The vectors that are there of these texts."""

    def keep_vectors(self, model: str, vectors: Sequence[tuple[str, bytes]]) -> None:
        """Keep what the model has made of these texts."""

    def use_model(self, name: str, made_by: Mapping[str, Any]) -> None:
        """Name the model whose vectors are searched by from now on, and how to make them."""
