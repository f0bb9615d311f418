"""Opens a run: locks the work folder, and has the run begin in its ledger."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio

from engine.config.load import Config, settings_as_dict
from engine.config.trust import seal
from engine.contract.errors import PenstockError
from engine.contract.pipeline import Pipeline
from engine.flow.finishing import installed_versions
from engine.flow.report import RunReport
from engine.flow.run import Background, Run
from engine.gates.leftovers import make_room
from engine.gates.shared import shared_gates_at
from engine.ledger.file_system import refuse_network
from engine.ledger.group_commit import GroupCommit
from engine.ledger.lock import locked
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.sources.source import Sources
from engine.telemetry.cores import available_cores
from engine.telemetry.events import (
    Event,
    Events,
    PartEnded,
    Repaired,
    RoomMade,
    RunStarted,
    ended_parts,
)
from engine.workers.ingredients import find_ingredients

BAD_START = "could not start"
"""The ledger's outcome for a run that a user's mistake ended."""


@asynccontextmanager
async def opened_run(
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
    sources: Sources,
    events: Events,
    *,
    resident: bool = False,
) -> AsyncIterator[Run]:
    """A run that has begun in the ledger of `workdir`, to be executed within the block.

    `sources` is a Source, or any iterable of sources as a person types them, of pairs (id, source),
    of Jobs. `resident` as for `run_pipeline`. Raises PenstockError, as for another one's ledger.
    """
    pipeline = pipeline.without(config.off)
    async with AsyncExitStack() as last:
        await last.enter_async_context(shared_gates_at(config.limits.shared_gates))
        freed = make_room(workdir)
        news: list[Event] = [RoomMade(freed)] if freed else []
        settings, versions = settings_as_dict(config), installed_versions(pipeline)
        ledger = Ledger(workdir / FILE)
        commit = GroupCommit(ledger)
        try:
            begun = await commit.do(
                lambda ledger: ledger.begin_run(
                    pipeline.name,
                    settings,
                    versions,
                    available_cores(),
                    seal(settings),
                    {step.name: step.each for step in pipeline.steps},
                    resident=resident,
                )
            )
            news.append(RunStarted(begun.run, pipeline.name, str(workdir)))
            left = "a killed run had it in hand; it is pending"
            news += [Repaired(id_, stage, left) for id_, stage in begun.unended]
            try:
                found = await find_ingredients(pipeline, config, workdir, commit)
                made_for = pipeline, config, workdir, sources, events
                run = Run(*made_for, commit, begun, news, found, resident=resident)
                last.push_async_callback(run.close)
                yield run
            except PenstockError:
                with suppress(PenstockError):
                    await commit.do(lambda ledger: ledger.end_run(begun.run, BAD_START))
                raise
        finally:
            commit.close()
            ledger.close()


def run_pipeline(
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
    sources: Sources,
    *,
    events: Events | None = None,
    on_part: Callable[[PartEnded], object] | None = None,
    prepare: Callable[[Run], Sequence[Background]] = lambda run: (),
    resident: bool = False,
) -> RunReport:
    """Run `pipeline` over `sources` in `workdir`, to its end. Blocks.

    `on_part` is called with each part that ends, by the rules for listeners of `events`. `prepare`
    is called with the run before it starts, to subscribe to its events, and returns the tasks to
    run beside it, such as a view that refreshes. A `resident` run is one whose source need not end:
    every step opens at once, and what a run does at its end it does now and then. Raises
    WorkFolderError where the folder is in use, PenstockError where a stage cannot start.
    """
    told = events or Events()
    if on_part is not None:
        told.subscribe(ended_parts(on_part))

    async def execute(folder: Path) -> RunReport:
        async with opened_run(pipeline, config, folder, sources, told, resident=resident) as run:
            return await run.execute(prepare(run))

    refuse_network(workdir, allowed=config.limits.network_folder)
    with locked(workdir.resolve()) as folder:
        return anyio.run(execute, folder)
