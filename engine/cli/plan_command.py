"""`penstock plan LEDGER --items N --within 24h`."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from engine.bench.configuration import parse_nodes
from engine.bench.model.reading import read_recording
from engine.bench.plan.footprint import read_footprint
from engine.bench.plan.limits import Fleet
from engine.bench.plan.planning import Plan, make_plan
from engine.bench.plan.quantities import rate_of, seconds_of
from engine.bench.plan.report import render_plan
from engine.contract import registry
from engine.contract.errors import UsageError, WorkFolderError
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE


def show_plan(
    ledger: str,
    items: int,
    within: str | None,
    rates: Sequence[str],
    cores: int | None,
    as_json: bool,
    machines: int | None,
    each: Sequence[str],
    cluster: bool,
    nodes: int | None,
    node: str,
) -> None:
    """Print a plan for `items` items within that time, or on so many machines or nodes, from the
    ledger.

    Raises UsageError for an invalid duration or rate, and WorkFolderError where there is nothing to
    learn from.
    """
    if [within, machines, nodes].count(None) != 2:
        raise UsageError(
            "give --within, for the machines that it takes, or --machines or --nodes, for a time"
        )
    if nodes is not None and not node:
        raise UsageError(f"--nodes {nodes}: say what each has, such as --node CPU=8,GPU=1")
    if node and (machines is not None or each):
        raise UsageError(
            f"--node {node}: nodes of a cluster are no machines with runs of their own; leave out "
            "--machines and --each (a link that all nodes share is a --rate)"
        )
    seconds = seconds_of(within, "--within") if within is not None else None
    fleet = Fleet(
        cores,
        rates=dict(rate_of(rate, "--rate") for rate in rates),
        each=dict(rate_of(rate, "--each") for rate in each),
        cluster=cluster or bool(node),
        node=dict(found.each) if (found := parse_nodes(1 if node else None, node)) else None,
    )
    counts = {"--items": items, "--cores": cores, "--machines": machines, "--nodes": nodes}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: give at least 1")
    folder = Path(ledger)
    if folder.name == FILE and not folder.is_dir():
        folder = folder.parent
    with LedgerReader(folder) as reader:
        last = reader.last_run()
    if last is None:
        raise WorkFolderError(f"{folder} has seen no run yet")
    pipeline = registry.pipeline(last.pipeline)
    recording = read_recording(folder, pipeline)
    footprint = read_footprint(folder, pipeline, [item.id for item in recording.items])
    plan = make_plan(
        recording, footprint, items, seconds, machines=machines, nodes=nodes, fleet=fleet
    )
    if as_json:
        click.echo(json.dumps(plan_as_dict(plan), indent=2))
        return
    width = min(shutil.get_terminal_size().columns, 120)
    click.echo(render_plan(plan, width=width, color=sys.stdout.isatty()), nl=False)


def plan_as_dict(plan: Plan) -> dict[str, object]:
    """The plan and the figures that follow from it, JSON-able. Times are in
    seconds, sizes in bytes."""
    return asdict(plan) | {"binds": plan.binds.what, "in_time": plan.in_time}
