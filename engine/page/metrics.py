"""A run's figures for Prometheus, at /metrics of its live page."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.telemetry.events import (
    Event,
    GateClosed,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
    PartEnded,
    PartEntered,
    RunStarted,
)
from engine.telemetry.statistics import PoolStatistics
from engine.telemetry.text import writable
from engine.views.progress import Snapshot

OUTCOMES = ("done", "dropped", "failed")


class Metrics(Collector):
    """Listens to a run, and reads its pools when Prometheus asks."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._run = {"run": "", "pipeline": "", "workdir": ""}
        self._entered = 0
        self._reused = 0
        self._given_up = 0
        self._gates = 0
        self._ended: Counter[str] = Counter()
        self._parts_entered = 0
        self._parts_ended: Counter[str] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                workdir = writable(event.workdir)
                self._run = {
                    "run": str(event.run),
                    "pipeline": event.pipeline,
                    "workdir": workdir,
                }
            case ItemEntered():
                self._entered += 1
            case ItemGivenUp():
                self._given_up += 1
            case ItemEnded():
                self._ended[event.outcome] += 1
                self._reused += event.reused
            case PartEntered():
                self._parts_entered += 1
            case PartEnded():
                self._parts_ended[event.outcome] += 1
            case GateClosed():
                self._gates += 1

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("penstock_run", "Which run this is.", self._run)
        yield CounterMetricFamily(
            "penstock_items_entered", "Items that entered the run.", self._entered
        )
        yield CounterMetricFamily(
            "penstock_items_given_up",
            "Items that left the run without an end: nobody waited for them any more.",
            self._given_up,
        )
        ended = CounterMetricFamily(
            "penstock_items_ended", "Items with which every stage has ended.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            ended.add_metric([outcome], self._ended[outcome])
        yield ended
        yield CounterMetricFamily(
            "penstock_items_reused", "Items ended that earlier runs had done.", self._reused
        )
        yield CounterMetricFamily(
            "penstock_parts_entered", "Parts of items that entered the run.", self._parts_entered
        )
        parts = CounterMetricFamily(
            "penstock_parts_ended",
            "Parts with which every stage has ended; abandoned: those of an item that has.",
            labels=["outcome"],
        )
        for outcome in (*OUTCOMES, "abandoned"):
            parts.add_metric([outcome], self._parts_ended[outcome])
        yield parts
        yield CounterMetricFamily(
            "penstock_gate_closings", "Times that a host was given a rest.", self._gates
        )
        yield from _stages(self._snapshot())


def _stages(pools: Sequence[PoolStatistics]) -> Iterator[Metric]:
    items = CounterMetricFamily(
        "penstock_stage_items",
        "Items with which the stage has ended, in this run.",
        labels=["stage", "outcome"],
    )
    seconds = CounterMetricFamily(
        "penstock_stage_worker_seconds",
        "Seconds of its workers, summed: busy, starved (no item), needing (no turn at what it "
        "shares, such as a GPU), blocked (no room), other.",
        labels=["stage", "state"],
    )
    for pool in pools:
        for outcome in OUTCOMES:
            items.add_metric([pool.stage, outcome], getattr(pool, outcome))
        known = {state: getattr(pool, state) for state in ("busy", "starved", "needing", "blocked")}
        known["other"] = max(0.0, pool.worker_seconds - sum(known.values()))
        for state, value in known.items():
            seconds.add_metric([pool.stage, state], value)
    yield items
    yield seconds
    for name, text in (
        ("attempts", "Attempts that have ended."),
        ("retried", "Attempts that are to be made again."),
        ("throttled", "Attempts that a host turned away."),
    ):
        counter = CounterMetricFamily(f"penstock_stage_{name}", text, labels=["stage"])
        for pool in pools:
            counter.add_metric([pool.stage], getattr(pool, name))
        yield counter
    for name, attribute, text in (
        ("workers", "workers", "Workers."),
        ("waiting_items", "waiting", "Items in the queue, ready for a worker."),
        ("queue_limit_items", "queue", "Items that may wait in the queue."),
        ("held_items", "held", "Items held for a retry or by a gate."),
        ("in_hand_items", "in_hand", "Items that a worker holds."),
    ):
        gauge = GaugeMetricFamily(f"penstock_stage_{name}", text, labels=["stage"])
        for pool in pools:
            gauge.add_metric([pool.stage], getattr(pool, attribute))
        yield gauge
