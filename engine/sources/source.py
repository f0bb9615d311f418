"""The `Source` protocol: where a run's items come from, and where their ends are reported."""

from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, runtime_checkable

from engine.contract.job import Given, Job, JobOutcome
from engine.sources.reading import amapped, mapped, read_lazily


@runtime_checkable
class Source(Protocol):
    """Yields jobs, and is told how each of them ended, once the ledger has the end.

    A class of your own derives from this one, and defines `items` and those of the other methods
    that it needs; or it defines all seven. A list needs no class: any iterable will do, see
    `ListSource`.

    **Reading.** `items` is called once in a run, on the event loop, and returns at once, as a
    generator does. Its result is read in order, a job at a time, and only when there is room: a
    bounded number of items is under way, for a source of any length. It need never end; a run that
    drains stops reading. A plain iterable is read in a thread of its own, so it may block; if it
    blocks when the run ends, its thread is abandoned. An async generator is read on the event loop,
    and may not block. Either is closed once nothing more is read.

    **Telling.** One of these calls follows for every job that was read:

    - `ended(job, outcome)`: its item has ended, and the ledger has committed that. An item that is
      a list has ended when its items have too; an item that earlier runs brought to its end has
      ended at once. If two jobs name one item, there is a call for each. "expired": the job's
      deadline has passed, and its item has not ended.
    - `lost(job)`: this run gives the job up before its end. It was stopped or interrupted, or the
      ledger was lost, or the item is in the run with other parameters, or the job was withdrawn. A
      later run that gets the job again (in the last case but one: gets it first) goes on with it.

    The calls come one at a time, in the order in which items ended, in a thread of their own:
    neither on the event loop, nor in the thread in which the source is read. So they may block. A
    run does not read on while 1,000 calls are due, and does not end before all have returned. The
    methods may also be `async def`, and are then awaited on the event loop. A run that is killed,
    or interrupted twice, may end before all calls were made, and a power cut may take the last
    commits: so a queue keeps a job until it hears of its end, and otherwise gives it again.
    Finished work is then not done again, only reported again.

    **Taking back.** `withdrawn` is read side by side with `items`, by the same rules, and yields
    jobs that were read and that nobody waits for any more: a person has cancelled one, or another
    machine has it now. Nothing more begins with such a job's item, an attempt in hand is cut short
    and becomes no output, and `lost` follows. What was done stands. An item that another job, or a
    list, waits for too goes on for that; one that has failed or was dropped ends by itself.

    **Being asked.** A source whose jobs another machine may take over, as a queue does with those
    of a machine that stands still, has `alive`. A job that is not alive is withdrawn.

    **Errors.** An error from reading ends the run at once; a UsageError, or another PenstockError,
    is shown as one line. If `ended` raises, the run takes nothing new, finishes the items in hand,
    reports those too, and ends as stopped, with the reason: a source that wants another try makes
    it itself. An error from `lost` is logged.
    """

    def items(self) -> Iterable[Job] | AsyncGenerator[Job, None]:
        """The jobs, in order."""
        ...

    def entered(self, job: Job, item: str) -> None:
        """The job's item has this id. It is under way, or had ended in this run. Called on the
        event loop, so it has to return at once."""
        return

    def ended(self, job: Job, outcome: JobOutcome) -> Awaitable[None] | None:
        """The job's item has ended, and the ledger has it; or the job has expired. `job` is the
        object that was read."""
        return None

    def lost(self, job: Job) -> Awaitable[None] | None:
        """The run gives the job up before its end."""
        return None

    def alive(self, job: Job, *, surely: bool) -> bool | None:
        """Whether the job, which was read, is still this run's; None where that cannot be known at
        the moment. Called in threads of workers, several at once; it may block for a moment, not
        for long.

        `surely`: something is about to be written that others read (`engine.ensure_ours`), so only
        the word of whoever gives the jobs will do. Otherwise something is about to become an output
        of this work folder, and no clock of this machine need be distrusted.
        """
        return True

    def paid(self, job: Job, requests: float) -> None:
        """A paid request that was made for the job's item was answered, and the answer is about to
        be used; or a share of it, where it was made for several items. Called in any thread, also
        on the event loop, so it returns at once: a write to a file is allowed. May come after the
        job's end, or its loss. Of several jobs for one item one pays."""
        return

    def withdrawn(self) -> Iterable[Job] | AsyncGenerator[Job, None]:
        """Jobs that nobody waits for any more, the very objects that were read, as it happens."""
        return ()


Listed = Iterable[Given] | AsyncGenerator[Given, None]
"""Anything that yields values which stand for jobs."""

Sources = Listed | Source
"""The `sources` of a run."""


class ListSource(Source):
    """The values of any iterable or async generator: sources as a person types them, pairs (id,
    source), Jobs. It is not told of their ends."""

    def __init__(self, given: Listed) -> None:
        if isinstance(given, str):
            raise TypeError(f"{given!r} is one source: give a list of them")
        self._given = given

    def items(self) -> Iterator[Job] | AsyncGenerator[Job, None]:
        if isinstance(self._given, AsyncGenerator):
            return amapped(Job.of, self._given)
        return mapped(Job.of, self._given)


class JoinedSources(Source):
    """Several sources as one, each read to its end before the next one begins. Every source is told
    of its own jobs. None takes jobs back."""

    def __init__(self, *sources: Sources) -> None:
        self.sources: Sequence[Source] = [as_source(source) for source in sources]

    async def items(self) -> AsyncGenerator[Job, None]:
        for source in self.sources:
            async with aclosing(read_lazily(source.items(), "penstock-source")) as jobs:
                async for job in jobs:
                    yield replace(job, handle=_Origin(source, job))

    def entered(self, job: Job, item: str) -> None:
        origin = _origin(job)
        origin.source.entered(origin.job, item)

    def ended(self, job: Job, outcome: JobOutcome) -> Awaitable[None] | None:
        origin = _origin(job)
        return origin.source.ended(origin.job, outcome)

    def lost(self, job: Job) -> Awaitable[None] | None:
        origin = _origin(job)
        return origin.source.lost(origin.job)

    def alive(self, job: Job, *, surely: bool) -> bool | None:
        origin = _origin(job)
        return origin.source.alive(origin.job, surely=surely)

    def paid(self, job: Job, requests: float) -> None:
        origin = _origin(job)
        origin.source.paid(origin.job, requests)


class _Origin:
    """A job together with the source that it came from."""

    def __init__(self, source: Source, job: Job) -> None:
        self.source = source
        self.job = job


def _origin(job: Job) -> _Origin:
    assert isinstance(job.handle, _Origin)
    return job.handle


def as_source(given: Sources) -> Source:
    """The source itself, or a source made of it."""
    return given if isinstance(given, Source) else ListSource(given)


def defines(source: Source, *methods: str) -> bool:
    """Whether the source defines one of these methods, which have a default."""
    if isinstance(source, JoinedSources):
        return any(defines(one, *methods) for one in source.sources)
    return any(getattr(type(source), name) is not getattr(Source, name) for name in methods)
