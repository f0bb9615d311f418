"""What is said where there is no Ray, and no cluster: nothing of Ray's is started here."""

import socket
import sys
from pathlib import Path

import pytest

from engine import SOURCE, Step, UsageError
from tests.engine.toys import Obedient, configured, line, run

PIPELINE = line(Step(Obedient, SOURCE))
PLACED = "stages.obedient.placement=ray"


def refusal(workdir: Path, *settings: str) -> str:
    with pytest.raises(UsageError) as refused:
        run(PIPELINE, workdir, ["done"], PLACED, *settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'penstock[ray]'" in refusal(tmp_path)


def test_an_address_where_nothing_listens_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refusal(tmp_path, f"limits.cluster={address}")
    assert told.startswith(f"no Ray cluster answers at {address} (Connection refused)")


@pytest.mark.parametrize("address", ["somewhere", "ray://10.0.0.1:10001", "10.0.0.1:"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    told = refusal(tmp_path, f"limits.cluster={address}")
    assert told.startswith(f"limits.cluster = {address!r}: no address of a Ray cluster")


def test_a_run_that_finds_all_done_connects_to_none(tmp_path: Path) -> None:
    run(PIPELINE, tmp_path, ["done"])
    assert run(PIPELINE, tmp_path, ["done"], PLACED, "limits.cluster=nowhere").outcome == "done"


def test_a_worker_takes_something_of_its_node() -> None:
    with pytest.raises(UsageError, match="has to take something of its node, such as CPU = 1"):
        configured(PIPELINE, PLACED, "stages.obedient.resources={CPU = 0}")


def test_gpus_over_one_are_whole() -> None:
    configured(PIPELINE, PLACED, "stages.obedient.resources={GPU = 2}")
    with pytest.raises(UsageError, match="takes a part of one GPU, or whole ones"):
        configured(PIPELINE, PLACED, "stages.obedient.resources={GPU = 1.5}")


def test_memory_is_a_size_in_words() -> None:
    config = configured(PIPELINE, PLACED, 'stages.obedient.resources={GPU = 0.5, memory = "2 GB"}')
    assert config.stages["obedient"].options.resources == {"GPU": 0.5, "memory": 2e9}
