"""A Ray cluster of two nodes on this machine, small, and gone after the tests."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SPACE, HERE, THERE, PORT = "penstock", "10.77.0.1", "10.77.0.2", "6399"

JOINING = (
    f"link add pstk0 type veth peer name pstk1 netns {SPACE}",
    f"addr add {HERE}/24 dev pstk0",
    "link set pstk0 up",
    f"-n {SPACE} addr add {THERE}/24 dev pstk1",
    f"-n {SPACE} link set pstk1 up",
    f"-n {SPACE} link set lo up",
)
"""What joins the namespace to this one's network."""

OBJECT_STORE = 80 * 1024 * 1024
"""Bytes of shared memory of a node: about the least that Ray takes."""


@contextmanager
def two_nodes(cpus: int = 1, first: Mapping[str, float] | None = None) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of two nodes with so many processors each; the first node has
    further resources."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the paths of sockets have to be short
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        add_node(cluster, num_cpus=cpus, resources=dict(first or {}))
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
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("a mount of one's own takes root")
    mounted = f'mount -t tmpfs none {shlex.quote(str(folder))} && exec "$@"'
    with odd_node(cluster, "blind", address, ["unshare", "--mount", "sh", "-c", mounted, "sh"]):
        yield


@contextmanager
def odd_node(
    cluster: Any, resource: str, address: str, before: Sequence[str] = (), **environment: str
) -> Iterator[None]:
    """A further node, started by a command of its own, that has one of this resource. `before` are
    words before that command, `environment` is set for it."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    start += ["--address", cluster.address, "--node-ip-address", address, "--num-cpus", "1"]
    start += ["--object-store-memory", str(OBJECT_STORE), "--resources", f'{{"{resource}": 1}}']
    words, variables = [*before, *start], os.environ | environment
    with subprocess.Popen(
        words, env=variables, stdout=subprocess.DEVNULL, start_new_session=True
    ) as node:
        try:
            while not _has(cluster, resource):
                assert node.poll() is None
                time.sleep(0.1)
            yield
        finally:
            node.terminate()


@contextmanager
def node_in_a_network_of_its_own() -> Iterator[str]:
    """The address of a cluster of a head, which has no processor, and a node with one of "far" in
    a network namespace of its own, joined by a veth pair. Skips where that takes rights."""
    if subprocess.run(["ip", "netns", "add", SPACE], capture_output=True).returncode != 0:
        pytest.skip("a network namespace takes root, and iproute2")
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    start += ["--object-store-memory", str(OBJECT_STORE)]
    head = [*start, "--head", "--node-ip-address", HERE, "--port", PORT, "--num-cpus", "0"]
    head += ["--include-dashboard", "false", "--temp-dir", f"{folder}/h"]
    far = ["ip", "netns", "exec", SPACE, *start, "--address", f"{HERE}:{PORT}", "--num-cpus", "1"]
    far += ["--node-ip-address", THERE, "--resources", '{"far": 1}', "--temp-dir", f"{folder}/n"]
    begun: list[subprocess.Popen[bytes]] = []

    def begin(words: Sequence[str]) -> None:
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        begun.append(
            subprocess.Popen(
                words,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    try:
        for words in JOINING:
            subprocess.run(["ip", *words.split()], check=True)
        begin(head)
        _wait_for_port(HERE, int(PORT))
        begin(far)
        yield f"{HERE}:{PORT}"
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()
        subprocess.run(["ip", "netns", "del", SPACE], check=False)
        subprocess.run(["ip", "link", "del", "pstk0"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_port(host: str, port: int) -> None:
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            time.sleep(0.2)


def _has(cluster: Any, resource: str) -> bool:
    """Whether a node of the cluster has the resource."""
    nodes = cluster.global_state.node_table()
    return any(node["Alive"] and resource in node["Resources"] for node in nodes)
