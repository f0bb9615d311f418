"""Steps whose workers are processes on a cluster's nodes: what is done there, and what is lost when
a process, an actor or a node is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from engine import SOURCE, Ending, Item, Pipeline, Settings, Stage, Step, UsageError, setting
from engine.cluster import seats
from engine.contract.item import item_id
from engine.flow.run import Run
from engine.telemetry.events import Event, Repaired
from engine.telemetry.statistics import CLUSTER, PoolStatistics
from tests.engine.toys import leftovers, line, note, query, run, tree, until
from tests.ray_cluster import add_node, blind_node, odd_node, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Far(Stage):
    """Writes what is before it, and the key that it was given. With an item that is to wait, it
    waits for its end, the first time."""

    optional_inputs = "before"

    class Settings(Settings):
        key: SecretStr = setting(SecretStr("none"), "Not for the eyes of others.")

    settings: "Far.Settings"

    def process(self, item: Item, out: Path) -> None:
        note(self.workdir / "tried", f"{self.name} {item.source} {os.getpid()}")
        if item.source.startswith("wait") and len(tried(self.workdir, item.source, self.name)) == 1:
            signal.pause()
        before = (item.input("before") / "said").read_text() if item.has_input("before") else ""
        key = self.settings.key.get_secret_value()
        (out / "said").write_text(f"{before}{self.name} {item.source} {key}\n")


class FarTogether(Far):
    """The same, with several items at once."""

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        for item, out in zip(items, outs, strict=True):
            self.process(item, out)
        return [None] * len(items)


def tried(workdir: Path, source: str, step: str = "a") -> list[int]:
    """The processes that have tried the item at the step, in order."""
    try:
        lines = (workdir / "tried").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [int(line.split()[2]) for line in lines if line.split()[:2] == [step, source]]


ONE = line(Step(Far, SOURCE, name="a"))
TWO = line(
    Step(Far, SOURCE, name="a"),
    Step(Far, "a", name="b", inputs={"before": "a"}),
)
TOGETHER = line(Step(FarTogether, SOURCE, name="a"))
THREE = line(
    Step(Far, SOURCE, name="a"),
    Step(Far, "a", name="b", inputs={"before": "a"}),
    Step(Far, "b", name="c", inputs={"before": "b"}),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as made:
        yield made


def placed(cluster: Any, pipeline: Pipeline, **options: Any) -> list[str]:
    """The settings of a pipeline on the cluster."""
    given = {"placement": "ray", "workers": 2, **options}
    return [
        f"limits.cluster={cluster.address}",
        *(
            f"stages.{step}.{name}={value}"
            for step in pipeline.names
            for name, value in given.items()
        ),
    ]


def spot(cluster: Any) -> Any:
    """A further node, which alone has what "spot" stands for."""
    return add_node(cluster, num_cpus=1, resources={"spot": 1}, node_ip_address="127.0.0.3")


Beside = Callable[[Run], Sequence[Callable[[], Awaitable[None]]]]


def when_tried(workdir: Path, source: str, act: Callable[[Run, int], object]) -> Beside:
    """A task beside the run: it calls `act` with the process that is the first to try the item."""

    def prepare(run: Run) -> Sequence[Callable[[], Awaitable[None]]]:
        async def wait() -> None:
            await until(lambda: tried(workdir, source))
            act(run, tried(workdir, source)[0])

        return [wait]

    return prepare


def endings(workdir: Path, source: str) -> list[tuple[str, str | None]]:
    sql = "SELECT outcome, message FROM attempts WHERE item = ? ORDER BY id"
    return query(workdir, sql, item_id(source))


def check_lost_one_attempt(workdir: Path, reason: str) -> None:
    """All is done, and only the attempt at "wait" was made twice."""
    (_, message), (outcome, _) = endings(workdir, "wait")
    assert outcome == "done"
    assert reason in str(message)
    assert len(tried(workdir, "wait")) == 2
    assert query(workdir, "SELECT count(*) FROM attempts WHERE outcome != 'done'") == [(1,)]
    assert query(workdir, "SELECT count(*) FROM items WHERE outcome != 'done'") == [(0,)]
    assert leftovers(workdir) == []


def wait_for_end(process: int) -> None:
    """Wait until the process has ended; what it leaves may still wait for its parent."""
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)


def coordinator(workdir: Path, sources: str, *options: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", __name__, str(workdir), sources, *options]
    return subprocess.Popen(command, env=environment)


def test_pools_that_do_not_fit_have_their_turns_and_give_what_threads_give(
    cluster: Any, tmp_path: Path
) -> None:
    sources = [f"v{number}" for number in range(6)]
    options = ["defaults.queue=1", *(f"stages.{step}.key=swordfish" for step in "abc")]
    run(THREE, tmp_path / "here", sources, *options)
    run(THREE, tmp_path / "there", sources, *options, *placed(cluster, THREE))
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_a_killed_process_costs_its_item_an_attempt(cluster: Any, tmp_path: Path) -> None:
    kill = when_tried(tmp_path, "wait", lambda run, process: os.kill(process, signal.SIGKILL))
    run(ONE, tmp_path, ["v0", "wait", "v1"], *placed(cluster, ONE), prepare=kill)
    check_lost_one_attempt(tmp_path, "killed by SIGKILL")


def test_a_killed_actor_costs_its_item_an_attempt(cluster: Any, tmp_path: Path) -> None:
    def kill(_: Run, process: int) -> None:
        actor = psutil.Process(process).parent()
        assert actor is not None
        actor.kill()

    beside = when_tried(tmp_path, "wait", kill)
    run(ONE, tmp_path, ["v0", "wait", "v1"], *placed(cluster, ONE), prepare=beside)
    check_lost_one_attempt(tmp_path, "lost, with its actor or its node")
    wait_for_end(tried(tmp_path, "wait")[0])


def test_a_lost_node_costs_its_items_an_attempt(cluster: Any, tmp_path: Path) -> None:
    doomed = spot(cluster)
    options = placed(cluster, ONE, workers=1, resources="{spot = 1}")

    def kill(_: Run, process: int) -> None:
        cluster.remove_node(doomed, allow_graceful=False)
        added.append(spot(cluster))

    added: list[Any] = []
    beside = when_tried(tmp_path, "wait", kill)
    run(ONE, tmp_path, ["v0", "wait", "v1"], *options, prepare=beside)
    check_lost_one_attempt(tmp_path, "lost, with its actor or its node 127.0.0.3")
    cluster.remove_node(added[0])


@pytest.mark.parametrize(("pipeline", "batch"), [(ONE, 1), (TOGETHER, 2)], ids=["one", "batch"])
def test_a_run_whose_last_able_node_is_lost_stops_and_goes_on_later(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, batch: int
) -> None:
    monkeypatch.setattr(seats, "WITHOUT", 1.0)
    doomed = spot(cluster)
    options = placed(cluster, pipeline, workers=1, resources="{spot = 1}", batch=batch)
    remove = when_tried(
        tmp_path, "wait", lambda run, _: cluster.remove_node(doomed, allow_graceful=False)
    )
    report = run(pipeline, tmp_path, ["wait", "v0", "v1"], *options, prepare=remove)
    assert report.outcome == "stopped"
    assert "no node of the cluster can hold a worker of step 'a' any more" in str(report.why)
    run(pipeline, tmp_path, ["wait", "v0", "v1"], *placed(cluster, pipeline, batch=batch))
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome != 'done'") == [(0,)]
    assert leftovers(tmp_path) == []


def test_without_a_cluster_one_of_this_machine_is_started_and_ended(tmp_path: Path) -> None:
    """In a process of its own: a local Ray sets for its whole process how calls are signed."""
    with coordinator(tmp_path, "v0,v1", "stages.a.placement=ray") as process:
        assert process.wait() == 0
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome = 'done'") == [(2,)]
    assert not list(Path("/tmp").glob(f"penstock-ray-{process.pid}-*"))


def test_what_no_node_has_is_refused_when_the_run_starts(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        run(ONE, tmp_path, ["v0"], *placed(cluster, ONE, resources="{CPU = 1, GPU = 2}"))
    assert str(refused.value) == (
        "stages.a.resources: a worker takes CPU 1, GPU 2, and no node of the cluster has that (most"
        " on one: CPU 1, GPU 0); ask for less, or start such a node first"
    )


def test_a_node_that_does_not_see_the_work_folder_is_named(cluster: Any, tmp_path: Path) -> None:
    options = placed(cluster, ONE, workers=1, resources="{blind = 1}")
    with blind_node(cluster, tmp_path, "127.0.0.4"), pytest.raises(UsageError) as refused:
        run(ONE, tmp_path, ["v0"], *options)
    assert str(refused.value) == (
        f"node 127.0.0.4 of the cluster does not see {tmp_path}/items: mount the same file system "
        "there, under the same path"
    )


OF_ANOTHER_RELEASE = """
import importlib.metadata as metadata
found = metadata.version
metadata.version = lambda name: "9.9" if name == "penstock" else found(name)
"""
WITHOUT_PENSTOCK = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "engine":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
"""


@pytest.mark.parametrize(
    ("begins_with", "told"),
    [
        (
            OF_ANOTHER_RELEASE,
            "node 127.0.0.5 of the cluster has another Penstock (9.9) than this machine "
            f"({version('penstock')}): install the same version on both",
        ),
        (
            WITHOUT_PENSTOCK,
            "a node of the cluster cannot run a worker process (No module named 'engine'): every "
            "node needs the same Penstock as this machine, and the package of the pipeline",
        ),
    ],
    ids=["another release", "none"],
)
def test_a_node_with_another_penstock_is_told(
    cluster: Any, tmp_path: Path, begins_with: str, told: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(begins_with)
    options = placed(cluster, ONE, workers=1, resources="{odd = 1}")
    with (
        odd_node(cluster, "odd", "127.0.0.5", PYTHONPATH=str(tmp_path)),
        pytest.raises(UsageError) as refused,
    ):
        run(ONE, tmp_path / "work", ["v0"], *options)
    assert str(refused.value) == told


def test_an_attempt_that_nobody_waits_for_is_cut_short(cluster: Any, tmp_path: Path) -> None:
    async def give_up(run: Run) -> None:
        await until(lambda: tried(tmp_path, "wait"))
        assert await run.give_up(item_id("wait"))

    options = placed(cluster, ONE)
    run(ONE, tmp_path, ["wait", "v1"], *options, prepare=lambda run: [lambda: give_up(run)])
    wait_for_end(tried(tmp_path, "wait")[0])
    assert query(tmp_path, "SELECT source, outcome FROM items ORDER BY source") == [
        ("v1", "done"),
        ("wait", "pending"),
    ]


def test_a_pool_that_is_resized_takes_places_and_gives_them_up(
    cluster: Any, tmp_path: Path
) -> None:
    there: list[int] = []

    async def resize(run: Run) -> None:
        await until(lambda: tried(tmp_path, "wait0"))
        run.pools["a"].resize(2)
        await until(lambda: tried(tmp_path, "wait1"))
        there.extend(tried(tmp_path, "wait0") + tried(tmp_path, "wait1"))
        run.pools["a"].resize(1)
        for process in there:
            os.kill(process, signal.SIGKILL)

    options = placed(cluster, ONE, workers=1)
    sources = ["wait0", "wait1", *(f"v{number}" for number in range(6))]
    run(ONE, tmp_path, sources, *options, prepare=lambda run: [lambda: resize(run)])
    later = {process for source in sources for process in tried(tmp_path, source)} - set(there)
    assert len(set(there)) == 2
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome != 'done'") == [(0,)]
    assert later


def test_auto_gives_a_pool_a_process_on_each_node_and_no_more_than_twice_what_fits(
    cluster: Any, tmp_path: Path
) -> None:
    """The only item that ends waits until two others are in hand, in two processes."""
    targets: list[int] = []

    async def let_go(run: Run) -> None:
        await until(lambda: tried(tmp_path, "wait0") and tried(tmp_path, "wait1"))
        targets.append(run.pools["a"].target)
        for process in {*tried(tmp_path, "wait0"), *tried(tmp_path, "wait1")}:
            os.kill(process, signal.SIGKILL)

    options = placed(cluster, ONE, workers="auto")
    sources = ["wait0", "wait1", *(f"v{number}" for number in range(30))]
    run(ONE, tmp_path, sources, *options, prepare=lambda run: [lambda: let_go(run)])
    assert 2 <= targets[0] <= 4
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome != 'done'") == [(0,)]


def test_waiting_for_a_place_is_no_attempt_and_not_busy(cluster: Any, tmp_path: Path) -> None:
    """The one place is the first step's, which does not end, and the second waits for it."""
    waited: list[PoolStatistics] = []

    async def look(run: Run) -> None:
        await until(lambda: tried(tmp_path, "wait"))
        await until(lambda: run.pools["b"].statistics().needing > 0.2)
        waited.append(run.pools["b"].statistics())
        for step in "ab":
            await until(partial(tried, tmp_path, "wait", step))
            os.kill(tried(tmp_path, "wait", step)[0], signal.SIGKILL)

    alone = spot(cluster)
    options = placed(cluster, TWO, workers=1, resources="{spot = 1}")
    run(TWO, tmp_path, ["v0", "wait"], *options, prepare=lambda run: [lambda: look(run)])
    cluster.remove_node(alone)
    (pool,) = waited
    assert (pool.busy, pool.in_hand, pool.needs) == (0.0, 1, CLUSTER)
    began, kept = query(
        tmp_path,
        "SELECT max(started), max(ended) FROM attempts WHERE stage = 'a' AND outcome != 'done'"
        " UNION ALL SELECT min(started), 0 FROM attempts WHERE stage = 'b'",
    )
    assert kept[0] > began[1], "the attempt begins with its place"


def test_a_killed_coordinator_is_taken_up_again(cluster: Any, tmp_path: Path) -> None:
    options = placed(cluster, ONE)
    with coordinator(tmp_path, "v0,wait,v1", *options) as process:
        while not tried(tmp_path, "wait"):
            assert process.poll() is None
        process.kill()
    wait_for_end(tried(tmp_path, "wait")[0])
    repaired: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Repaired):
            repaired.append(event.what)

    run(ONE, tmp_path, ["v0", "wait", "v1"], *options, listen=listen)
    assert query(tmp_path, "SELECT count(*) FROM items WHERE outcome != 'done'") == [(0,)]
    assert len(tried(tmp_path, "wait")) == 2
    assert not [what for what in repaired if "suspicion" in what or "alone" in what]
    assert query(tmp_path, "SELECT count(*) FROM stages WHERE kind = 'crashed'") == [(0,)]
    assert leftovers(tmp_path) == []


if __name__ == "__main__":
    run(ONE, Path(sys.argv[1]), sys.argv[2].split(","), *sys.argv[3:])
