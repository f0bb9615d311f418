"""Where a run's items come from, and who is told how they ended: the `Source` protocol."""

from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

from engine.contract.job import Given, Job
from engine.sources.reading import amapped, mapped, read_lazily


@runtime_checkable
class Source(Protocol):
    """Yields jobs, and is told how each of them ended, once the ledger has it.

    A class of your own derives from this one, and writes `items` and what it needs of the others;
    or it has all three. A list needs no class: any iterable will do, see `ListSource`.

    **Reading.** `items` is called once in a run, on the event loop, and returns at once, as a
    generator does. What it returns is read in order, a job at a time, and only when there is room:
    a bounded number of items is under way, however long the source is. It need never end; a run
    that drains reads no further. A plain iterable is read in a thread of its own, so it may block,
    and is left to itself if it does when the run ends. An async generator is read on the event
    loop, and may not block. Either is closed once nothing more is read.

    **Telling.** One of these follows for every job that was read:

    - `ended(job, outcome)`: its item has ended, and the ledger has committed that. An item that
      holds others has ended when they have too; one that earlier runs brought to its end has ended
      at once. Of two jobs that name one item, each is told of.
    - `lost(job)`: this run lets go of it without an end. It was stopped or interrupted, or the
      ledger was lost, or the item is in the run with other parameters. A later run that is given
      the job again goes on with it.

    The calls come one at a time, in the order in which items ended, in a thread of their own:
    neither on the event loop, nor in the thread in which the source is read. So they may block. A
    run does not read on while 1,000 are due, and does not end before all have returned. They may
    also be `async def`, and are then awaited on the event loop. A run that is killed, or
    interrupted twice, may end with ends untold, and a power cut may take the last of what was
    committed: so a queue keeps a job until it has heard of its end, and gives it again otherwise.
    What was finished is then not done again, only told again.

    **Errors.** What reading raises ends the run at once; a UsageError, or another PenstockError, is
    shown as one line. If `ended` raises, the run takes nothing new, finishes what it has in hand,
    tells of that too, and ends as stopped, with the reason: what is worth another try, the source
    tries again itself. If `lost` raises, that is logged.
    """

    def items(self) -> Iterable[Job] | AsyncGenerator[Job, None]:
        """The jobs, in order."""
        ...

    def ended(
        self, job: Job, outcome: Literal["done", "dropped", "failed"]
    ) -> Awaitable[None] | None:
        """The job's item has ended, and the ledger has it. `job` is the object that was read."""
        return None

    def lost(self, job: Job) -> Awaitable[None] | None:
        """The run lets go of the job without an end."""
        return None


Listed = Iterable[Given] | AsyncGenerator[Given, None]
"""What makes a source: anything that yields what may stand for jobs."""

Sources = Listed | Source
"""What a run takes."""


class ListSource(Source):
    """What any iterable yields, or an async generator: sources as a person types them, pairs (id,
    source), Jobs. Does not want to know how they ended."""

    def __init__(self, given: Listed) -> None:
        if isinstance(given, str):
            raise TypeError(f"{given!r} is one source: give a list of them")
        self._given = given

    def items(self) -> Iterator[Job] | AsyncGenerator[Job, None]:
        if isinstance(self._given, AsyncGenerator):
            return amapped(Job.of, self._given)
        return mapped(Job.of, self._given)


class Joined(Source):
    """Several sources as one, each read to its end before the next one is begun. Every source is
    told of its own jobs."""

    def __init__(self, *sources: Sources) -> None:
        self.sources: Sequence[Source] = [as_source(source) for source in sources]

    async def items(self) -> AsyncGenerator[Job, None]:
        for source in self.sources:
            async with aclosing(read_lazily(source.items(), "penstock-source")) as jobs:
                async for job in jobs:
                    yield replace(job, handle=_Origin(source, job))

    def ended(
        self, job: Job, outcome: Literal["done", "dropped", "failed"]
    ) -> Awaitable[None] | None:
        origin = _origin(job)
        return origin.source.ended(origin.job, outcome)

    def lost(self, job: Job) -> Awaitable[None] | None:
        origin = _origin(job)
        return origin.source.lost(origin.job)


class _Origin:
    """The job as the source that it is of knows it."""

    def __init__(self, source: Source, job: Job) -> None:
        self.source = source
        self.job = job


def _origin(job: Job) -> _Origin:
    assert isinstance(job.handle, _Origin)
    return job.handle


def as_source(given: Sources) -> Source:
    """The source that this is, or that it makes."""
    return given if isinstance(given, Source) else ListSource(given)


def wants_to_know(source: Source) -> bool:
    """Whether the source has an `ended` or a `lost` of its own."""
    if isinstance(source, Joined):
        return any(map(wants_to_know, source.sources))
    kind = type(source)
    return (getattr(kind, "ended", None), getattr(kind, "lost", None)) != (
        Source.ended,
        Source.lost,
    )
