"""A plan for people: its sizes, the amounts behind them, and the limit that binds."""

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from engine.bench.plan.amounts import Estimate
from engine.bench.plan.limits import Limit
from engine.bench.plan.planning import Plan
from engine.telemetry.text import duration, pace, size

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100


def render_plan(plan: Plan, *, width: int = WIDTH, color: bool = False) -> str:
    """The plan as text that ends in a line break."""
    blocks = [
        f"{_head(plan)}, if they are as the {plan.recorded:,} recorded ones{_with_parts(plan)}:\n",
        _as_text(_takes(plan), width, color),
        _as_text(_stages(plan), width, color),
        _as_text(_limits(plan), width, color),
        _lines(_sentences(plan)),
    ]
    return "\n".join(blocks)


def _head(plan: Plan) -> str:
    if plan.is_for_machines:
        return f"{plan.items:,} items on {_counted(plan)} take {duration(plan.within)}"
    return f"{plan.items:,} items within {duration(plan.within)}"


def _with_parts(plan: Plan) -> str:
    return f" with their {plan.recorded_parts:,} parts" if plan.recorded_parts else ""


def _takes(plan: Plan) -> "Table":
    table = _table("It takes", "", "95% interval")
    if plan.node is not None:
        each = ", ".join(f"{name} {many:g}" for name, many in plan.node.items())
        table.add_row(_counted(plan), f"of {each}", "")
        table.add_row("coordinator", f"of {plan.cores} cores", "")
    else:
        table.add_row(_machines(plan), f"of {plan.cores} cores", "")
    table.add_row("workers", f"{sum(one.workers for one in plan.stages) * plan.machines:,}", "")
    for stage in plan.stages:
        if stage.most is not None:
            count = f"{stage.workers * plan.machines:,}"
            each = "in all" if plan.nodes else "a machine"
            bound = f"{stage.most} {each}"
            if stage.most == 1 and not plan.nodes:
                bound = "one for each machine or GPU"
            table.add_row(f"of them {stage.stage}", count, bound)
    hours = plan.processor.times(1 / 3600)
    table.add_row("core hours", f"{hours.value:,.1f}", f"{hours.low:,.1f} to {hours.high:,.1f}")
    for name, cost in plan.costs.items():
        table.add_row(name, *_amount(cost, is_size=name.startswith("bytes")))
    table.add_row("disk", *(_amount(plan.disk, is_size=True) if plan.disk else ("unknown", "")))
    return table


def _machines(plan: Plan) -> str:
    return "1 machine" if plan.machines == 1 else f"{plan.machines:,} machines"


def _counted(plan: Plan) -> str:
    """What a limit is divided by: machines, or nodes."""
    if plan.nodes is None:
        return _machines(plan)
    return "1 node" if plan.nodes == 1 else f"{plan.nodes:,} nodes"


def _stages(plan: Plan) -> "Table":
    """A table of the stages: amounts per item that enters, and its parts; workers and storage per
    machine."""
    in_parts = any(stage.parts is not None for stage in plan.stages)
    columns = ("Reached", "Dropped", "Failed", "Seconds", "Core s", "Disk", "At once")
    table = _table("Stage", "Workers", *(("Parts",) if in_parts else ()), *columns, gap=1)
    for stage in plan.stages:
        many = f"{stage.parts.value:,.3g}" if stage.parts is not None else ""
        table.add_row(
            stage.stage,
            f"{stage.workers:,}",
            *((many,) if in_parts else ()),
            f"{stage.reached.value:.0%}",
            f"{stage.dropped:.1%}",
            f"{stage.failed:.1%}",
            f"{stage.seconds.value:.3g}",
            f"{stage.processor.value:.3g}",
            "deleted" if stage.stored is None else size(round(stage.stored.value)),
            "?" if stage.passing is None else size(round(stage.passing)),
        )
    return table


def _limits(plan: Plan) -> "Table":
    table = _table("Limit", "Alone it takes", "95% interval", f"On {_counted(plan)}")
    many = plan.nodes or plan.machines
    for limit in plan.limits:
        table.add_row(
            limit.what,
            duration(limit.seconds.value),
            f"{duration(limit.seconds.low)} to {duration(limit.seconds.high)}",
            duration(limit.on(many)),
        )
    return table


def _sentences(plan: Plan) -> Iterator[str]:
    first = plan.binds
    one = "node" if plan.nodes else "machine"
    counted = (plan.nodes or plan.machines) if plan.is_for_machines else 1
    where = f"one {one}" if counted == 1 else f"{counted:,} {one}s"
    yield f"What binds first is {first.what}: {duration(first.on(counted))} on {where}."
    if plan.enough is not None:
        many, then = plan.enough
        those = f"One {one} is enough" if many == 1 else f"More than {many:,} {one}s do not help"
        yield f"{those}: then {then.what} binds, {duration(then.seconds.value)}."
    for limit in plan.limits:
        if not limit.divides and limit.seconds.value > plan.within and not plan.is_for_machines:
            yield _too_late(limit, plan)
    if plan.machines > 1 and not plan.cluster:
        yield "Each machine takes a part of the list, or of one queue, into a folder of its own."
    on = f"on {_counted(plan)}" if plan.nodes else "on a machine"
    yield (
        f"With these workers the model of the engine does {pace(plan.pace)} {on}, where "
        f"{pace(plan.needed)} is needed."
    )
    yield from plan.notes


def _too_late(limit: Limit, plan: Plan) -> str:
    times = limit.seconds.value / plan.within
    return (
        f"{limit.what} cannot be kept to within {duration(plan.within)}, whatever the "
        f"{'nodes' if plan.nodes else 'machines'}: it "
        f"takes {duration(limit.seconds.value)}, so {times:.1f} times that rate is needed."
    )


def _amount(estimate: Estimate, *, is_size: bool) -> tuple[str, str]:
    def shown(value: float) -> str:
        return size(round(value)) if is_size else f"{value:,.0f}"

    return shown(estimate.value), f"{shown(estimate.low)} to {shown(estimate.high)}"


def _table(*columns: str, gap: int = 2) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
    return table


def _as_text(table: "Table", width: int, color: bool) -> str:
    from rich.console import Console

    buffer = io.StringIO()
    Console(
        file=buffer, width=width, force_terminal=color, color_system="standard" if color else None
    ).print(table)
    return _lines(line.rstrip() for line in buffer.getvalue().splitlines())


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
