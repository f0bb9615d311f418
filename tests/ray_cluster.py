"""A Ray cluster of two nodes on this machine, small, and gone after the tests."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OBJECT_STORE = 80 * 1024 * 1024
"""Bytes of shared memory of a node: about the least that Ray takes."""


@contextmanager
def two_nodes(cpus: int = 1) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of two nodes with so many processors each."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the paths of sockets have to be short
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        add_node(cluster, num_cpus=cpus)
        add_node(cluster, num_cpus=cpus, node_ip_address="127.0.0.2")
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


def add_node(cluster: Any, **options: Any) -> Any:
    """A further node of the cluster. A run connects by a node of this machine's own address: one
    that is to be killed has another."""
    return cluster.add_node(**options, object_store_memory=OBJECT_STORE, include_dashboard=False)


@contextmanager
def blind_node(cluster: Any, folder: Path, address: str) -> Iterator[None]:
    """A further node that has another file system in the place of `folder`; it has one of the
    resource "blind". Skips the test where that takes rights which it lacks."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    start += ["--address", cluster.address, "--node-ip-address", address, "--num-cpus", "1"]
    start += ["--object-store-memory", str(OBJECT_STORE), "--resources", '{"blind": 1}']
    mounted = f"mount -t tmpfs none {shlex.quote(str(folder))} && exec {shlex.join(start)}"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("a mount of one's own takes root")
    words = ["unshare", "--mount", "sh", "-c", mounted]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True) as node:
        try:
            while not _has(cluster, "blind"):
                assert node.poll() is None
                time.sleep(0.1)
            yield
        finally:
            node.terminate()


def _has(cluster: Any, resource: str) -> bool:
    """Whether a node of the cluster has the resource."""
    nodes = cluster.global_state.node_table()
    return any(node["Alive"] and resource in node["Resources"] for node in nodes)
