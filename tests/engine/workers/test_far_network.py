"""A step on a node that has a network of its own, as another machine has."""

from pathlib import Path

import pytest

from tests.engine.toys import query
from tests.engine.workers.test_remote import coordinator
from tests.ray_cluster import node_in_a_network_of_its_own

pytestmark = [pytest.mark.slow, pytest.mark.torture, pytest.mark.timeout(120)]
"""Among the tortures: beside other clusters on a busy machine the node may not join in time."""


def test_a_node_in_another_network_does_the_work(tmp_path: Path) -> None:
    """In a process of its own, as Ray keeps the address by which it was reached first. The run may
    begin before the node has joined: it is started again until it has."""
    with node_in_a_network_of_its_own() as address:
        options = [f"limits.cluster={address}", "stages.a.placement=ray", "stages.a.workers=1"]
        options.append("stages.a.resources={far = 1}")
        while coordinator(tmp_path, "v0,v1", *options).wait() != 0:
            pass
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome = 'done'") == [(2,)]
