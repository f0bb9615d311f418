"""The connection of this process to a Ray cluster, made for a run and ended with it.

Ray is an extra, so it is imported when a run needs it, and only here.
"""

import asyncio
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import psutil
from anyio import to_thread

from engine.contract.errors import UsageError
from engine.contract.showing import shown_in
from engine.telemetry.text import one_line

WITHIN = 10.0
"""Seconds that a cluster's head has to answer a first knock. Ray itself would try for minutes."""

OBJECT_STORE = 100 * 1024 * 1024
"""Bytes of shared memory of a cluster that a run starts for itself: messages are small."""

FOLDER = "penstock-ray-"

AUTO, LOCAL = "auto", "local"


@asynccontextmanager
async def connected(address: str | None) -> AsyncIterator[Any]:
    """The module `ray`, connected to the cluster at `address` for the length of the block; None:
    that of the environment's RAY_ADDRESS, or a cluster of this machine alone, which is started. A
    connection that the program has made itself is used, and left to it.

    Raises UsageError where there is no Ray, and where the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody that it is used
    try:
        ray = await to_thread.run_sync(_imported)
    except ImportError as error:
        raise UsageError(
            f"placement = \"ray\" needs Ray ({error}): pip install 'penstock[ray]', or place the "
            "steps otherwise"
        ) from None
    if ray.is_initialized():
        _check_same(ray, address)
        yield ray
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it cannot do comes as an error
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    await to_thread.run_sync(_knock, address)
    # The thread that starts a cluster has to outlive it: the kernel tells the cluster's processes
    # when it ends, and they go with it.
    thread = ThreadPoolExecutor(1, "penstock-ray")
    folder = await to_thread.run_sync(_folder) if address == LOCAL else None
    try:
        await asyncio.wrap_future(thread.submit(_connect, ray, address, folder))
        try:
            yield ray
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.wrap_future(thread.submit(ray.shutdown))
    finally:
        thread.shutdown(wait=False)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> str:
    """A folder for the files of a cluster of this machine. Those of killed runs are removed: Ray's
    logs may be large. In /tmp itself, as the paths of sockets have to be short."""
    for left in Path("/tmp").glob(f"{FOLDER}*"):
        with suppress(ValueError):
            if not psutil.pid_exists(int(left.name.removeprefix(FOLDER).partition("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir="/tmp")


def _imported() -> Any:
    import ray

    return ray


def _check_same(ray: Any, address: str | None) -> None:
    """Raises UsageError where this process is connected to another cluster already."""
    connected_to = ray.get_runtime_context().gcs_address
    if address not in (None, AUTO, connected_to):
        raise UsageError(
            f"limits.cluster = {address!r}, and this program is connected to the Ray cluster at "
            f"{connected_to}: unset the one, or give the other up with ray.shutdown()"
        )


def _knock(address: str) -> None:
    """Raises UsageError where nothing listens at the address."""
    if address in (AUTO, LOCAL):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise UsageError(
            f"limits.cluster = {address!r}: no address of a Ray cluster; give HOST:PORT as `ray "
            'start --head` prints it, or "auto" for the one on this machine'
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), WITHIN).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); check "
            "limits.cluster, and that `ray status` on its head says that it runs"
        ) from None


def _connect(ray: Any, address: str, folder: str | None) -> None:
    mine: Mapping[str, Any] = {}
    if folder is not None:
        mine = {
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "_temp_dir": folder,
        }
    try:
        ray.init(address=address, configure_logging=False, log_to_driver=False, **mine)
    except Exception as error:  # of many kinds: another version of Python or Ray, a wrong token
        where = "of this machine" if folder is not None else f"at {address}"
        told = one_line(shown_in(str(error)), limit=500)
        raise UsageError(f"the Ray cluster {where} cannot be used: {told}") from error
