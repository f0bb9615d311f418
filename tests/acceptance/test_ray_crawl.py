"""A crawl of which two steps run on a cluster gives the dataset that it gives without one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import crawl
from tests.acceptance.outcome import bytes_of, check_dataset, check_no_scratch, status
from tests.ray_cluster import two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as made:
        yield made


def test_a_crawl_on_two_nodes_gives_the_same_dataset(
    cluster: Any, clips: list[Path], tmp_path: Path
) -> None:
    """The pools ask for four places, and there are two."""
    here, there = tmp_path / "here", tmp_path / "there"
    assert crawl(*clips[:4], out=here).code == 0
    placed = {"stages.extract.placement": "ray", "stages.filter.placement": "ray"}
    ran = crawl(*clips[:4], out=there, sets={**placed, "limits.cluster": cluster.address})
    assert ran.code == 0, ran.said
    assert bytes_of(there / "dataset") == bytes_of(here / "dataset")
    assert status(there)["items"]["done"] == 4
    check_dataset(there)
    check_no_scratch(there)
