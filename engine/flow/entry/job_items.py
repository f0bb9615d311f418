"""From a job to its item: the pipeline's form of the source, and what parameters it has for it."""

from dataclasses import replace
from pathlib import Path

from anyio import to_thread

from engine.contract.errors import UsageError
from engine.contract.item import Item
from engine.contract.job import Job, Parameters
from engine.contract.pipeline import Pipeline


def item_of(pipeline: Pipeline, workdir: Path, job: Job) -> Item:
    """The job's item. A source that the pipeline cannot read stays as it is: the item's first stage
    reports the problem."""
    source = job.source
    if job.id is None:
        try:
            source = pipeline.canonical(source)
        except UsageError:
            source = source.strip()
    return Item.at(workdir, source, job.id, job.parameters)


async def with_parameters(pipeline: Pipeline, item: Item) -> Item:
    """The item, with the parameters that the pipeline has for it where it came without any but
    options."""
    options = item.options
    if pipeline.parameters is None or len(item.parameters) > len(options):
        return item
    found = await to_thread.run_sync(pipeline.parameters, item.source)
    return replace(item, parameters=Parameters.of({**found, **options}))
