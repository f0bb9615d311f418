"""The cluster as a run uses it: what its nodes have and see, and worker processes on them."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from anyio import to_thread

from engine.cluster.connection import connected
from engine.cluster.host import Host, NodeSight, installed
from engine.cluster.remote_process import RemoteProcess, answer_of
from engine.cluster.turns import PlaceTurns
from engine.contract.errors import UsageError

PROOF = ".cluster"
"""A file beside the items' folders, with a word that only this run knows: a node that sees it sees
the same folder."""

CALLS = 100
"""Calls of an actor that may overlap."""


class RayCluster:
    """The cluster of a run, connected from `open` to `close`: a run that has nothing to do starts
    none. All calls belong on the event loop."""

    def __init__(self, address: str | None, workdir: Path) -> None:
        """None: the cluster of the environment's RAY_ADDRESS, or one of this machine alone, that
        is started."""
        self.turns = PlaceTurns()
        self._address = address
        self._proof = workdir / "items" / PROOF
        self._token = secrets.token_hex()
        self._stack = AsyncExitStack()
        self._ray: Any = None

    async def open(self) -> None:
        """Connect, if any step works there. Raises UsageError."""
        if not self.turns.steps:
            return
        await to_thread.run_sync(self._proof.write_text, self._token)
        self._stack.callback(self._proof.unlink, missing_ok=True)
        self._ray = await self._stack.enter_async_context(connected(self._address))

    async def close(self) -> None:
        """Leave the cluster, where it is connected: what the run has there ends."""
        await self._stack.aclose()

    @property
    def ray(self) -> Any:
        """The module `ray`, which is connected."""
        assert self._ray is not None
        return self._ray

    async def could_hold(self, resources: Mapping[str, float]) -> bool:
        """Whether any node has these resources in all, in use or not."""
        return any(
            all(node.get(one, 0) >= many for one, many in resources.items())
            for node in await self._nodes()
        )

    async def check(self, step: str, resources: Mapping[str, float]) -> None:
        """Raises UsageError where no node has what a worker of the step asks for."""
        if await self.could_hold(resources):
            return
        found = await self._nodes()
        most = {one: max((node.get(one, 0) for node in found), default=0) for one in resources}
        raise UsageError(
            f"stages.{step}.resources: a worker takes {_in_words(resources)}, and no node of the "
            f"cluster has that (most on one: {_in_words(most)}); ask for less, or start such a "
            "node first"
        )

    async def _nodes(self) -> list[Mapping[str, float]]:
        """What each node has."""
        nodes = await to_thread.run_sync(self.ray.nodes)
        return [node["Resources"] for node in nodes if node["Alive"]]

    async def start(
        self,
        group: Any,
        resources: Mapping[str, float],
        path: Sequence[str],
        leave: Callable[[], object],
    ) -> RemoteProcess:
        """Start a worker process in the place that `group` holds. `leave` is called once the
        process has ended, also where it does not start.

        Raises UsageError where its node cannot run it, and EndOfStream where that is lost.
        """
        ray = self.ray
        actor = _actor(ray, group, resources)

        def end() -> None:
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)
            leave()

        try:
            process = RemoteProcess(ray, actor, await self._look(actor), end)
            await process.start(path, hides_gpus=not resources.get("GPU"))
        except BaseException:
            end()
            raise
        return process

    async def _look(self, actor: Any) -> str:
        """The address of the actor's node. Raises UsageError where that lacks what it needs,
        and EndOfStream where it is lost."""
        sight: NodeSight = await answer_of(self.ray, actor.look.remote(str(self._proof)))
        if sight.version != installed():
            raise UsageError(
                f"node {sight.address} of the cluster has another Penstock ({sight.version or '?'})"
                f" than this machine ({installed() or '?'}): install the same version on both"
            )
        if sight.proof != self._token:
            raise UsageError(
                f"node {sight.address} of the cluster does not see {self._proof.parent}: mount the "
                "same file system there, under the same path"
            )
        return sight.address


def _actor(ray: Any, group: Any, resources: Mapping[str, float]) -> Any:
    """An actor in the place that `group` holds."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    options: dict[str, Any] = {named[one]: many for one, many in resources.items() if one in named}
    others = {one: many for one, many in resources.items() if one not in named}
    options |= {"num_cpus": options.get("num_cpus", 0), "resources": others}
    strategy = PlacementGroupSchedulingStrategy(group)
    placed = ray.remote(Host).options(
        **options, scheduling_strategy=strategy, max_concurrency=CALLS
    )
    return placed.remote()


def _in_words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{one} {many:g}" for one, many in resources.items())
