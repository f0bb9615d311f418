"""What bounds a run: cores, stages with a maximum, rates, a link, a coordinator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engine.bench.model.recorded import Recording
from engine.bench.plan.amounts import Amounts, Estimate
from engine.contract.errors import UsageError
from engine.telemetry.text import size


@dataclass(frozen=True, slots=True)
class Limit:
    """A limited resource: `seconds` is the time that all items would take if it were the only
    limit. `seconds` are for one machine where `divides`, which means that two machines take half as
    long."""

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
    one coordinator, which passes on every item; otherwise each is a run of its own."""

    cores: int | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    each: Mapping[str, float] = field(default_factory=dict)
    cluster: bool = False


def limits_of(recording: Recording, amounts: Amounts, fleet: Fleet, items: int) -> list[Limit]:
    """All limits of a run over so many items. Raises UsageError where a rate names neither a host
    nor a cost of the recording."""
    cores = fleet.cores or recording.cores
    limits = [Limit(f"{cores} cores", amounts.processor().times(items / cores), divides=True)]
    for stage in recording.stages:
        most = recording.most.get(stage)
        if most is not None:
            what = f"{most} worker" if most == 1 else f"{most} workers"
            alone = amounts.of_stage("seconds", stage).times(items / most)
            limits.append(Limit(f"{stage}: {what} at most", alone, divides=True))
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
