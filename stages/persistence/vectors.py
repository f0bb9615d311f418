"""Vectors of texts: made once by a model, and kept in every sink that takes them."""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from queue import SimpleQueue

from engine import Loan, borrow
from stages.calls.kept_answers import InFlight
from stages.calls.sent_calls import SentCalls, write_calls
from stages.search.embedding import Embedded, Embedder
from stages.sinks.sink import VectorSink


class KeptVectors:
    """What `embedder` makes of texts, in `sinks`, of which there is at least one; what is paid for
    is kept in the first one before all else.

    Those that name one `place` never have vectors made of one text side by side, from whatever
    thread of this process. Close it after use, and with it the embedder.
    """

    def __init__(self, embedder: Embedder, sinks: Sequence[VectorSink], place: Hashable) -> None:
        self._embedder = embedder
        self._sinks = sinks
        key = ("texts in flight", place, embedder.name)
        self._loan = borrow(key, _texts_in_flight, lambda texts: None)
        for sink in sinks:
            sink.use_model(embedder.name, embedder.made_by)

    def drain(self) -> None:
        """As `Embedder.drain` has it: vectors that have come are kept, then `make` raises
        Withdrawn."""
        self._embedder.drain()

    def close(self) -> None:
        try:
            self._embedder.close()
        finally:
            self._loan.give_back()

    def make(self, texts: Sequence[str], meanwhile: Callable[[], None] = lambda: None) -> int:
        """Make and keep vectors of the texts that have none in any sink; returns their number. What
        one sink has the others get. `meanwhile` is done in this thread while the first ones are
        being made; they are kept whether it succeeds or not, for they may be paid. A text of which
        another is having one made is waited for."""
        made, left = 0, texts
        while True:
            with self._loan.thing.taken(left) as taken:
                made += self._make(taken.mine, meanwhile)
            if not taken.elsewhere:
                return made
            for landed in taken.elsewhere.values():
                landed.wait()
            # What has failed there is tried here.
            left, meanwhile = list(taken.elsewhere), lambda: None

    def _make(self, texts: Sequence[str], meanwhile: Callable[[], None]) -> int:
        name = self._embedder.name
        missing = self._share(texts)
        with _made_aside(self._embedder, missing) as made:
            try:
                meanwhile()
            finally:
                for some in made:
                    vectors = [vector.astype("<f4").tobytes() for vector in some.vectors]
                    pairs = list(zip(some.texts, vectors, strict=True))
                    self._sinks[0].keep_vectors(name, pairs)
        if missing:
            self._share(texts)
        return len(missing)

    def _share(self, texts: Sequence[str]) -> list[str]:
        """Give each sink the vectors that another has; returns the texts of which none has one."""
        name, (first, *others) = self._embedder.name, self._sinks
        missing = first.without_vector(name, texts)
        for sink in others:
            found = sink.vectors_of(name, missing)
            first.keep_vectors(name, list(found.items()))
            missing = [text for text in missing if text not in found]
        for sink in others:
            lacking = sink.without_vector(name, texts)
            sink.keep_vectors(name, list(first.vectors_of(name, lacking).items()))
        return missing


def counted_calls(workdir: Path, step: str) -> Loan[SentCalls]:
    """What becomes of the requests for vectors of all workers of a step: kept for the run's figures
    when the last one has given it back."""
    key = ("requests for vectors", workdir, step)
    return borrow(key, SentCalls, lambda calls: write_calls(workdir, step, calls))


def _texts_in_flight() -> InFlight[str, threading.Event]:
    return InFlight(threading.Event)


@contextmanager
def _made_aside(embedder: Embedder, texts: Sequence[str]) -> Iterator[Iterator[Embedded]]:
    """The vectors of the texts as a thread makes them; its error is raised at their end."""
    made: SimpleQueue[Embedded | None] = SimpleQueue()

    def make() -> None:
        try:
            for some in embedder.embed(texts) if texts else ():
                made.put(some)
        finally:
            made.put(None)

    with ThreadPoolExecutor(1, "penstock-embed") as aside:
        done = aside.submit(copy_context().run, make)
        yield iter(made.get, None)
        done.result()
