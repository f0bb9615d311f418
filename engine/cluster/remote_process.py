"""A worker process on a node of the cluster, as the run sees it: a place, and the messages."""

import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio

from engine.cluster.frames import in_words
from engine.contract.errors import UsageError
from engine.telemetry.text import one_line

GRACE = 5.0
"""Seconds that a process has to end by itself."""

SLOW = 5.0
"""Seconds more that a node has to say so, before it counts as lost."""


async def answer_of(ray: Any, reference: Any) -> Any:
    """What an actor answers. Raises EndOfStream where it is gone, or has never come to be, and
    UsageError where its node cannot do what it is asked to."""
    errors = ray.exceptions
    try:
        return await reference
    except errors.RayTaskError as error:
        raise UsageError(_refusal(str(error.cause or error))) from None
    except errors.RayError as error:
        if "No module named" in str(error):
            raise UsageError(_refusal(str(error))) from None
        raise anyio.EndOfStream(one_line(str(error))) from None


def _refusal(reason: str) -> str:
    missing = re.search(r"No module named '[^']+'", reason)
    told = missing[0] if missing else one_line(reason, limit=300)
    return (
        f"a node of the cluster cannot run a worker process ({told}): every node needs the same "
        "Penstock as this machine, and the package of the pipeline"
    )


class RemoteProcess:
    """A process in a place of the cluster, through the actor that holds it. It offers what a
    `Transport` of engine/workers/transport.py does; sent messages go with the next `receive`."""

    def __init__(self, ray: Any, actor: Any, address: str, leave: Callable[[], object]) -> None:
        """`address` is its node's; `leave` gives up the place, once the process is closed."""
        self._ray = ray
        self._actor = actor
        self._address = address
        self._leave = leave
        self._out: list[bytes] = []
        self._came = deque[bytes]()

    async def start(self, path: Sequence[str], *, hides_gpus: bool) -> None:
        """Start the process; `path` are folders that it imports from after the node's own, and
        `hides_gpus` is for one that has asked for none. Raises EndOfStream where the node is
        lost."""
        await self._answer(self._actor.start.remote(list(path), hides_gpus=hides_gpus))

    async def send(self, body: bytes) -> None:
        self._out.append(body)

    async def receive(self) -> bytes:
        if not self._came:
            bodies, self._out = self._out, []
            self._came.extend(await self._answer(self._actor.exchange.remote(bodies)))
        if not self._came:
            raise anyio.EndOfStream
        return self._came.popleft()

    def kill(self) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._actor.kill.remote()

    async def is_alive(self) -> bool:
        try:
            with anyio.fail_after(SLOW):
                return bool(await self._answer(self._actor.is_alive.remote()))
        except (anyio.EndOfStream, TimeoutError):
            return False

    async def obituary(self) -> str:
        with anyio.CancelScope(shield=True):
            try:
                with anyio.fail_after(GRACE + SLOW):
                    code = await self._answer(self._actor.end.remote(GRACE, closing=False))
            except (anyio.EndOfStream, TimeoutError):
                return f"the worker process was lost, with its actor or its node {self._address}"
        return in_words(code, f"the worker process on {self._address}")

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            with suppress(anyio.EndOfStream), anyio.move_on_after(GRACE + SLOW):
                await self._answer(self._actor.end.remote(GRACE, closing=True))
            leave, self._leave = self._leave, bool  # a call that was cut off is made again
            leave()

    async def _answer(self, reference: Any) -> Any:
        return await answer_of(self._ray, reference)
