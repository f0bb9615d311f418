"""The service's figures for Prometheus, at /metrics."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stages.serve.desk.problems import RESPONSES
from stages.serve.queue.source import ServedJobs
from stages.serve.routes.asking import Asking, TheDesk

STATES = ("queued", "running", "done", "dropped", "failed", "expired", "cancelled")

routes = APIRouter(tags=["health"], responses=RESPONSES)
"""The address for Prometheus; it takes a token where jobs take one."""


@routes.get("/metrics", response_class=Response)
async def metrics(desk: TheDesk, caller: Asking, accept: Annotated[str, Header()] = "") -> Response:
    """The service's figures."""
    counts = await to_thread.run_sync(desk.table.counts)
    registry = CollectorRegistry()
    registry.register(ServiceMetrics(desk.jobs, counts))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return Response(encode(registry), headers={"Content-Type": content_type})


class ServiceMetrics(Collector):
    """The figures of one moment."""

    def __init__(self, jobs: ServedJobs, counts: Mapping[str, int]) -> None:
        self._jobs = jobs
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        ready = float(self._jobs.is_ready)
        yield GaugeMetricFamily("penstock_service_ready", "1: the service takes jobs.", ready)
        by_state = GaugeMetricFamily(
            "penstock_service_jobs", "Jobs in the work folder.", labels=["state"]
        )
        for state in STATES:
            by_state.add_metric([state], self._counts.get(state, 0))
        yield by_state
        attempts = CounterMetricFamily(
            "penstock_service_attempts", "Attempts that have ended.", labels=["step", "outcome"]
        )
        seconds = CounterMetricFamily(
            "penstock_service_attempt_seconds", "Seconds that they took.", labels=["step"]
        )
        for (step, outcome), count in sorted(self._jobs.attempts.items()):
            attempts.add_metric([step, outcome], count)
        for step, taken in sorted(self._jobs.seconds.items()):
            seconds.add_metric([step], taken)
        yield attempts
        yield seconds
