"""What bounds a run: cores, stages with a maximum, rates, a link, a coordinator, nodes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engine.bench.model.places import Nodes
from engine.bench.model.recorded import Recording
from engine.bench.plan.amounts import Amounts, Estimate
from engine.contract.errors import UsageError
from engine.telemetry.text import size


@dataclass(frozen=True, slots=True)
class Limit:
    """A limited resource: `seconds` is the time that all items would take if it were the only
    limit. `seconds` are for one machine where `divides`, or for one node of a cluster, which means
    that two take half as long."""

    what: str
    seconds: Estimate
    divides: bool

    def on(self, machines: int) -> float:
        """Seconds on so many machines."""
        return self.seconds.value / (machines if self.divides else 1)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the machines have. Each has `cores` (None: as many as the recorded one) and the rates
    `each`, such as that of its link; `rates` are those of all machines together. Both are per
    second, by host, or by a cost that the pipeline counts. `cluster`: the machines are one run with
    one coordinator, which passes on every item; otherwise each is a run of its own. Where `node`
    says what a node of the cluster has, steps that were on one are planned for such nodes, and the
    machine is the coordinator."""

    cores: int | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    each: Mapping[str, float] = field(default_factory=dict)
    cluster: bool = False
    node: Mapping[str, float] | None = None


def limits_of(recording: Recording, amounts: Amounts, fleet: Fleet, items: int) -> list[Limit]:
    """All limits of a run over so many items. Raises UsageError where a rate names neither a host
    nor a cost of the recording, and where no worker has a place on a node."""
    cores = fleet.cores or recording.cores
    if fleet.node is None:
        own, where, divides = recording.stages, "", True
    else:
        own = [stage for stage in recording.stages if stage not in recording.placed]
        where, divides = " of the coordinator", False
    limits = [Limit(f"{cores} cores{where}", amounts.processor(own).times(items / cores), divides)]
    if fleet.node is not None:
        limits += _of_nodes(recording, amounts, fleet.node, items)
    for stage in recording.stages:
        most = recording.most.get(stage)
        if most is not None:
            what = f"{most} worker" if most == 1 else f"{most} workers"
            alone = amounts.of_stage("seconds", stage).times(items / most)
            limits.append(Limit(f"{stage}: {what} at most", alone, divides))
    for name, rate in fleet.rates.items():
        needed, word = _amount(amounts, name, "--rate")
        what = f"{name}: {_per_hour(rate, name)} {word}"
        limits.append(Limit(what, needed.times(items / rate), divides=False))
    for name, rate in fleet.each.items():
        needed, _ = _amount(amounts, name, "--each")
        what = f"{name}: {_per_hour(rate, name)} a machine"
        limits.append(Limit(what, needed.times(items / rate), divides=True))
    limits += _by_settings(recording, amounts, fleet, items)
    if fleet.cluster and recording.handover:
        passing_on = amounts.attempts().times(items * recording.handover)
        what = f"the coordinator: {1000 * recording.handover:.2g} ms an attempt"
        limits.append(Limit(what, passing_on, divides=False))
    return limits


def _of_nodes(
    recording: Recording, amounts: Amounts, node: Mapping[str, float], items: int
) -> Iterator[Limit]:
    """What nodes that have so much of each resource are for the steps on them: in all, for each of
    them alone, as a part of a place is none; and their cores, where work needs more than it takes.
    """
    placed = recording.placed
    if not placed:
        raise UsageError(
            'no step of the recorded run was on a cluster: record one with placement = "ray", or '
            "plan with --machines"
        )
    limited = {
        name: {stage: takes[name] for stage, takes in placed.items() if takes.get(name)}
        for name in node
    }
    if not any(limited.values()):
        known = ", ".join(dict.fromkeys(name for takes in placed.values() for name in takes))
        raise UsageError(f"--node: say what a node has of what workers take, which is {known}")
    for name, takes in limited.items():
        if takes and node[name] > 0:
            taken = amounts.taken(takes).times(items / node[name])
            yield Limit(f"nodes of {name} {node[name]:g}", taken, divides=True)
    for stage, asks in placed.items():
        rooms = Nodes(1, node).workers(asks)
        if rooms == 0:
            has = ",".join(f"{name}={many:g}" for name, many in node.items())
            asked = ", ".join(f"{name} {many:g}" for name, many in asks.items())
            raise UsageError(f"--node {has}: a worker of {stage} takes {asked}; give larger nodes")
        if rooms < math.inf:
            alone = amounts.of_stage("seconds", stage).times(items / rooms)
            places = "1 place" if rooms == 1 else f"{rooms:g} places"
            yield Limit(f"{stage}: {places} on a node", alone, divides=True)
    if node.get("CPU"):
        work = amounts.processor(list(placed)).times(items / node["CPU"])
        if work.value > amounts.taken(limited["CPU"]).value * items / node["CPU"]:
            yield Limit(f"nodes of {node['CPU']:g} cores", work, divides=True)


def _amount(amounts: Amounts, name: str, option: str) -> tuple[Estimate, str]:
    """What an item takes of what `name` names, and a word for how that is counted."""
    if name in amounts.keys:
        return amounts.starts(name), "started"
    if name in amounts.costs:
        return amounts.cost(name), "in all"
    known = ", ".join([*amounts.keys[:5], *amounts.costs]) or "none"
    raise UsageError(f"{option} {name}: nothing that was recorded goes there; there are: {known}")


def _by_settings(
    recording: Recording, amounts: Amounts, fleet: Fleet, items: int
) -> Iterator[Limit]:
    """The rates of the settings: each machine keeps to them by itself, unless it shares its gates
    or is one of a cluster."""
    capacities = recording.capacities
    divides = not (recording.shares_gates or fleet.cluster)
    keys = (key for key in amounts.keys if key not in fleet.rates)
    paced = [key for key in keys if capacities.rate_of(key)]
    own = [key for key in paced if capacities.has_own_rate(key)]
    most_frequent = [key for key in paced if key not in own][:1]
    for name in own + most_frequent:
        rate = capacities.rate_of(name)
        setting = f'limits.keys."{name}".rate' if name in own else "limits.rate"
        what = f"{name}: {setting} = {rate:g}" + ("" if divides else " in all")
        yield Limit(what, amounts.starts(name).times(items / rate), divides)


def _per_hour(rate: float, name: str) -> str:
    if name.startswith("bytes"):
        return f"{size(round(3600 * rate))} an hour"
    return f"{3600 * rate:,.0f} an hour" if 3600 * rate >= 10 else f"{86400 * rate:,.3g} a day"
