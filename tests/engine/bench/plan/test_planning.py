"""Plans: what follows from recordings whose figures are known, and what the model says of them."""

import dataclasses
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Item, Settings, UsageError, setting
from engine.bench.model.reading import read_recording
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.simulation import simulate
from engine.bench.plan.footprint import Footprint, read_footprint
from engine.bench.plan.limits import Fleet
from engine.bench.plan.planning import Plan, make_plan
from engine.bench.plan.quantities import rate_of, seconds_of
from engine.bench.plan.report import render_plan
from engine.bench.plan.sizing import FULL
from engine.cli.main import main
from engine.config.limits import KeyLimits
from engine.contract import registry
from engine.contract.pipeline import Pipeline
from engine.gates.capacity import Capacities
from engine.ledger.records import Settled
from tests.engine.bench.recordings import item, recording, tandem
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, fast_folder, line, run, toy

DAY = 86400.0


def alike(count: int = 50, **seconds: float | Service) -> list[RecordedItem]:
    return [item(str(number), **seconds) for number in range(count)]


def test_what_a_plan_takes_by_hand() -> None:
    """864,000 a day are 10 a second. a: 2 s of waiting each, 20 workers' worth of it; b: 0.3 core
    seconds each, 3 cores' worth. At 90% that is 23 workers and 4 workers on one machine of 8."""
    made = recording(tandem("a", "b"), alike(a=2, b=Service(0.0, 0.3)), cores=8)
    plan = make_plan(made, Footprint(), 864_000, DAY)
    assert (plan.machines, plan.cores, plan.needed) == (1, 8, pytest.approx(10))
    workers = {stage.stage: stage.workers for stage in plan.stages}
    assert 23 <= workers["a"] <= 26
    assert 4 <= workers["b"] <= 5
    assert plan.processor.value == pytest.approx(864_000 * 0.3)
    [cores] = plan.limits
    assert cores.what == "8 cores"
    assert cores.seconds.value == pytest.approx(864_000 * 0.3 / 8)
    assert plan.binds == cores
    assert plan.in_time
    assert plan.pace >= plan.needed


def test_more_than_one_machine_can_do_is_shared_out() -> None:
    """10 a second of 1.5 core seconds are 15 cores: 9 machines of 2 at 90%."""
    made = recording(tandem("a"), alike(a=Service(0.1, 1.5)), cores=2)
    plan = make_plan(made, Footprint(), 864_000, DAY)
    assert plan.machines == 9
    assert make_plan(made, Footprint(), 864_000, DAY, fleet=Fleet(cores=64)).machines == 1


def test_a_stage_that_can_have_one_worker_takes_a_machine_for_each() -> None:
    made = recording(tandem("a", "b"), alike(a=0.1, b=0.5), most={"a": None, "b": 1})
    plan = make_plan(made, Footprint(), 864_000, DAY)
    assert plan.machines == 6  # 10 * 0.5 / 0.9
    assert {stage.stage: stage.workers for stage in plan.stages}["b"] == 1
    assert plan.binds.what == "b: 1 worker at most"
    assert plan.binds.seconds.value == pytest.approx(864_000 * 0.5)


def test_hosts_bind_whatever_the_machines() -> None:
    """Of ten items nine go to h: 900 of 1000, at 300 an hour three hours."""
    items = [item(str(n), a=Visit([Service(1.0)], key="h" if n % 10 else "i")) for n in range(100)]
    made = recording(tandem("a"), items)
    plan = make_plan(made, Footprint(), 1000, 7200, fleet=Fleet(rates={"h": 300 / 3600}))
    assert plan.binds.what == "h: 300 an hour started"
    assert plan.binds.seconds.value == pytest.approx(3 * 3600)
    assert plan.binds.seconds.low < 3 * 3600 < plan.binds.seconds.high
    assert not plan.in_time
    assert make_plan(made, Footprint(), 1000, 11000, fleet=Fleet(rates={"h": 300 / 3600})).in_time
    limited = recording(tandem("a"), items, capacities=Capacities(0.1))
    own = make_plan(limited, Footprint(), 1000, 7200)
    assert own.binds.what == "h: limits.rate = 0.1"
    assert own.binds.seconds.value == pytest.approx(9000)
    assert own.machines == 2  # each keeps to a rate of its own
    with pytest.raises(UsageError, match="--rate j: nothing that was recorded goes there"):
        make_plan(made, Footprint(), 1000, 7200, fleet=Fleet(rates={"j": 1.0}))


def test_a_host_with_a_rate_of_its_own_binds_by_that() -> None:
    """Of ten items nine go to h, which would take 100 seconds at 9 a second; i takes 1000."""
    items = [item(str(n), a=Visit([Service(1.0)], key="h" if n % 10 else "i")) for n in range(100)]
    capacities = Capacities(9.0, own={"i": KeyLimits(rate=0.1)})
    plan = make_plan(recording(tandem("a"), items, capacities=capacities), Footprint(), 1000, 7200)
    assert plan.binds.what == 'i: limits.keys."i".rate = 0.1'
    assert plan.binds.seconds.value == pytest.approx(1000)
    [common] = [limit for limit in plan.limits if limit.what == "h: limits.rate = 9"]
    assert common.seconds.value == pytest.approx(100)


def test_lists_count_for_what_they_hold() -> None:
    lists = [RecordedItem("l", {"a": Visit([Service(3.0)])}, expanded=30)]
    plan = make_plan(
        recording(tandem("a", "b"), [*lists, *alike(30, a=1, b=1)]), Footprint(), 300, DAY
    )
    a, b = plan.stages
    assert a.seconds.value == pytest.approx(1 + 3 / 30)
    assert (a.reached.value, b.seconds.value) == (1, 1)
    with pytest.raises(UsageError, match="only lists were recorded"):
        make_plan(recording(tandem("a"), lists), Footprint(), 300, DAY)


def test_what_ends_on_the_way_is_not_planned_for() -> None:
    gone = [item(f"g{n}", a=Visit([Service(1.0)], "failed")) for n in range(25)]
    drop = [item(f"d{n}", a=Visit([Service(1.0)], "dropped")) for n in range(25)]
    made = recording(tandem("a", "b"), [*gone, *drop, *alike(50, a=1, b=4)])
    a, b = make_plan(made, Footprint(), 1000, DAY).stages
    assert (a.failed, a.dropped, a.reached.value) == (0.25, 0.25, 1)
    assert (b.reached.value, b.seconds.value) == (0.5, 2)
    assert b.reached.low < 0.5 < b.reached.high


def test_costs_and_disk_add_up() -> None:
    made = recording(tandem("a", "b"), alike(4, a=1, b=1), keep={"a": True, "b": True})
    footprint = Footprint(
        outputs={str(n): {"a": 100, "b": 10 * n} for n in range(4)},
        costs={str(n): {"requests": 2.0 * n} for n in range(4)},
        rest=40,
    )
    plan = make_plan(made, footprint, 1000, DAY, fleet=Fleet(rates={"requests": 1.0}))
    assert plan.costs["requests"].value == 3000
    assert plan.disk is not None
    assert plan.disk.value == 1000 * (100 + 15 + 10)
    assert plan.binds.what == "requests: 3,600 an hour in all"
    assert plan.binds.seconds.value == 3000
    a = plan.stages[0]
    assert (a.held, a.passing) == (1 + 8 + 1, 1000)


def in_parts(many: int, name: str = "x", outcome: Settled = "done", **more: Any) -> RecordedItem:
    """An item with so many parts; f takes 2 seconds for each."""
    visit = Visit([Service(2.0)], outcome, more.get("key"))
    parts = [RecordedItem(f"{name}/{n}", {"f": visit}) for n in range(many)]
    whole = item(name, c=1, g=3)
    return dataclasses.replace(whole, parts={"c": parts})


def test_a_plan_counts_parts_as_work_of_their_items() -> None:
    """f has 2 seconds with each of 10 or 30 parts, of which those of h go at most 5 a second."""
    items = [in_parts(10 if n % 2 else 30, str(n), key="h") for n in range(40)]
    made = recording(tandem("c", "f", "g"), items, each={"f": "c"})
    plan = make_plan(made, Footprint(), 864, DAY, fleet=Fleet(rates={"h": 5.0}))
    c, f, g = plan.stages
    assert [one.seconds.value for one in plan.stages] == [1, 40, 3]
    assert f.parts is not None and f.parts.value == 20
    assert f.parts.low < 20 < f.parts.high
    assert (c.parts, g.parts, f.reached.value, f.outputs) == (None, None, 1, 20)
    assert plan.binds.what == "h: 18,000 an hour started"
    assert plan.binds.seconds.value == 864 * 20 / 5
    assert (plan.recorded, plan.recorded_parts) == (40, 800)
    assert f.workers >= 864 * 40 / DAY / FULL
    told = render_plan(plan, width=100)
    assert "as the 40 recorded ones with their 800 parts" in told
    assert [line.split()[:3] for line in told.splitlines() if line.startswith("f ")] == [
        ["f", str(f.workers), "20"]
    ]


def test_parts_that_fail_are_a_share_of_the_parts() -> None:
    items = [in_parts(4, f"g{n}") for n in range(15)] + [
        in_parts(12, f"b{n}", "failed") for n in range(5)
    ]
    plan = make_plan(
        recording(tandem("c", "f", "g"), items, each={"f": "c"}), Footprint(), 100, DAY
    )
    assert plan.stages[1].failed == 0.5
    assert plan.stages[0].failed == 0


def test_parts_on_the_disk_at_once() -> None:
    """c's parts go as f is done with them: one that c makes, 8 in the queue, one in f's hand. f's
    stay until g has gathered them: those of c's item, of one that f still has, of 9 at g."""
    items = [in_parts(20, str(n)) for n in range(40)]
    made = recording(tandem("c", "f", "g"), items, each={"f": "c"})
    outputs = {str(n): {"c": 200, "f": 40, "g": 7} for n in range(40)}
    c, f, g = make_plan(made, Footprint(outputs=outputs), 100, DAY).stages
    assert (c.held, c.passing) == (10, 100)
    assert (f.held, f.passing) == (20 * 11, 440)
    assert (g.held, g.passing) == (1, 7)


def test_many_parts_make_no_long_work_of_a_plan() -> None:
    items = [in_parts(400, str(n)) for n in range(30)]
    made = recording(tandem("c", "f", "g"), items, each={"f": "c"})
    began = time.process_time()
    plan = make_plan(made, Footprint(), 10_000, 10 * DAY)
    assert plan.pace >= plan.needed
    assert time.process_time() - began < 20


def test_names_of_stages_stand_whole_on_a_narrow_terminal() -> None:
    steps = ["download", "describe"]
    made = recording(
        tandem(*steps),
        alike(4, download=Service(0.01828, 0.00586), describe=0.02),
        keep=dict.fromkeys(steps, True),
    )
    outputs = {str(n): {"download": 669_800, "describe": 195_800} for n in range(4)}
    plan = make_plan(made, Footprint(outputs=outputs), 1000, DAY)
    lines = render_plan(plan, width=80).splitlines()
    assert {line.split()[0] for line in lines if line} >= {"Stage", *steps}


def test_an_output_that_is_read_further_down_is_held_by_all_up_to_there() -> None:
    made = recording(tandem("a", "b", "c", "d"), alike(2, a=1, b=1, c=1, d=1))
    far = dataclasses.replace(made, reads={"c": ("b", "a")})
    for one, held in ((made, 10), (far, 19)):
        stages = make_plan(one, Footprint(), 1000, DAY).stages
        assert [stage.held for stage in stages] == [held, 10, 10, 1]


def test_what_was_deleted_is_not_known() -> None:
    made = recording(tandem("a", "b"), alike(2, a=1, b=1), keep={"a": False, "b": True})
    footprint = Footprint(outputs={"0": {"b": 5}, "1": {"b": 5}})
    plan = make_plan(made, footprint, 10, DAY)
    assert plan.stages[0].stored is None
    assert plan.disk is not None and plan.disk.value == 50
    assert any("a stored was deleted" in note for note in plan.notes)


def test_too_little_time_is_refused() -> None:
    made = recording(tandem("a"), alike(a=1), start_up=20.0, finish=15.0)
    with pytest.raises(UsageError, match="opening the stages took 20 seconds"):
        make_plan(made, Footprint(), 10, 30.0)


def plans(made: Recording, items: int) -> Plan:
    return make_plan(made, Footprint(), items, 3600.0)


def test_short_queues_and_uneven_items_take_more_workers() -> None:
    """Workers that wait for each other are worth less than their number: the model tells."""
    chance = random.Random(3)
    items = [
        item(str(n), **{stage: chance.lognormvariate(0, 1.5) for stage in "abc"})
        for n in range(200)
    ]
    made = recording(tandem(*"abc"), items, queue=1)
    plan = plans(made, 3 * 3600)
    assert plan.machines == 1
    for stage in plan.stages:
        assert stage.workers > 3 * stage.seconds.value / FULL + 1
    assert plan.pace >= plan.needed == pytest.approx(3)


@given(
    st.lists(st.floats(0.01, 5), min_size=3, max_size=3),
    st.lists(st.floats(0.0, 1), min_size=3, max_size=3),
    st.integers(100, 30_000),
    st.sampled_from([None, 1, 3]),
    st.integers(0, 2**32),
)
@settings(max_examples=15, deadline=None)
def test_a_plans_workers_keep_the_pace_on_the_model(
    waits: list[float], works: list[float], items: int, most: int | None, seed: int
) -> None:
    recorded, chance = [], random.Random(seed)
    for number in range(40):
        size = chance.lognormvariate(0, 0.6)
        services = zip("abc", waits, works, strict=True)
        recorded.append(
            item(str(number), **{n: Service(size * w, size * p) for n, w, p in services})
        )
    made = recording(tandem(*"abc"), recorded, cores=8, most={"b": most})
    plan = plans(made, items)
    workers = {stage.stage: stage.workers for stage in plan.stages}
    assert most is None or workers["b"] <= most
    share = -(-items // plan.machines)
    found = simulate(made, workers, items=share, seed=7)
    assert found.throughput >= 0.9 * share / 3600
    assert plan.processor.value <= plan.machines * plan.cores * 3600 * FULL * 1.001


# What a person types


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", DAY), ("90m", 5400), ("7d", 7 * DAY), ("1d12h", 1.5 * DAY)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text, "--within") == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-3h", "0h", "3x", "3h!", "1h 2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"--within .*is no duration; give one such as 24h"):
        seconds_of(text, "--within")


def test_rates() -> None:
    assert rate_of("youtube.com=300/h", "--rate") == ("youtube.com", 300 / 3600)
    assert rate_of("a=b=5/s", "--rate") == ("a=b", 5)
    assert rate_of("requests=600/m", "--rate") == ("requests", 10)
    for text in ("300/h", "=300/h", "h=300", "h=0/h", "h=3/y", "h=-3/h"):
        with pytest.raises(UsageError, match="is no rate; give one such as"):
            rate_of(text, "--rate")


# On a work folder


class Writes(Toy):
    """Writes as many bytes as its item's source says."""

    class Settings(Settings):
        value: int = setting(0, "A number.")
        note: str = setting("", "Words.", affects_output=False)

    def process(self, item: Item, out: Path) -> None:
        (out / "bytes").write_bytes(bytes(int(item.source)))


def count_bytes(item: Item, settings: object) -> dict[str, float]:
    return {"bytes counted": (item.output("b") / "bytes").stat().st_size}


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Pipeline]]:
    pipeline = line(toy("a", base=Writes), toy("b", "a", base=Writes), costs=count_bytes)
    monkeypatch.setattr(registry, "pipeline", lambda name: pipeline)
    with fast_folder() as folder:
        run(pipeline, folder, ["1000", "3000"], "stages.a.keep=false")
        yield folder, pipeline


def test_a_footprint_is_what_is_on_the_disk(worked: tuple[Path, Pipeline]) -> None:
    folder, pipeline = worked
    ids = [one.id for one in read_recording(folder, pipeline).items]
    found = read_footprint(folder, pipeline, ids)
    by_source = {source: found.outputs[Item.at(folder, source).id] for source in ("1000", "3000")}
    assert by_source["3000"]["b"] - by_source["1000"]["b"] == 2000
    assert all("a" not in outputs for outputs in by_source.values())
    assert sorted(cost["bytes counted"] for cost in found.costs.values()) == [1000, 3000]
    assert found.rest >= (folder / "penstock.db").stat().st_size


def test_a_footprint_has_what_parts_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = line(cut("c", cuts={"x": 5}), at("c", "f"), gather("g", "f"))
    monkeypatch.setattr(registry, "pipeline", lambda name: pipeline)
    with fast_folder() as folder:
        run(pipeline, folder, ["x", "y"])
        x = Item.at(folder, "x")
        found = read_footprint(folder, pipeline, [x.id]).outputs[x.id]
        of_f = [x.part("c", n).folder / "f" for n in range(5)]
        assert found["f"] == sum(one.stat().st_size for at in of_f for one in at.iterdir())
        assert found["c"] > 5 * len('{"piece": "x/0", "value": 0}')
        told = CliRunner().invoke(main, ["plan", str(folder), "--items", "10", "--within", "1h"])
        assert told.exit_code == 0, told.output
        assert "as the 2 recorded ones with their 8 parts" in told.output


def test_the_command_says_what_it_takes(worked: tuple[Path, Pipeline]) -> None:
    folder, _ = worked
    for ledger in (folder, folder / "penstock.db"):
        asked = ["plan", str(ledger), "--items", "1000000", "--within", "24h"]
        told = CliRunner().invoke(main, asked)
        assert told.exit_code == 0, told.output
        assert "1,000,000 items within 1 d 00 h" in told.output
        assert "bytes counted" in told.output
        assert "2.0 GB" in told.output
        assert "What binds first is" in told.output
    found = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    assert found["costs"]["bytes counted"]["value"] == 2e9
    assert [stage["stage"] for stage in found["stages"]] == ["a", "b"]
    assert found["in_time"] is True
    assert found["machines"] >= 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--within", "soon"], "--within soon: is no duration"),
        (["--rate", "h=300"], "--rate h=300: is no rate"),
        (["--rate", "h=300/h"], "--rate h: nothing that was recorded goes there"),
        (["--items", "0"], "--items 0: give at least 1"),
        (["--cores", "0"], "--cores 0: give at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    worked: tuple[Path, Pipeline], changed: list[str], message: str
) -> None:
    folder, _ = worked
    asked = ["plan", str(folder), "--items", "10", "--within", "1h", *changed]
    told = CliRunner().invoke(main, asked)
    assert told.exit_code == 2
    assert told.stderr.startswith(f"penstock: {message}")
    assert len(told.stderr.splitlines()) == 1


def test_no_work_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["plan", str(tmp_path), "--items", "10", "--within", "1h"])
    assert told.exit_code == 2
    assert told.stderr == (
        f"penstock: {tmp_path} is not a work folder: it has no penstock.db; give the folder that a "
        "run wrote\n"
    )


def test_so_many_machines_take_a_time_and_what_they_share_binds_them() -> None:
    """A million items of 3.6 core seconds are 1,000 core hours: 1,000 machines of 2 cores take half
    an hour, at 90% 2,000 seconds. 100 requests a second of one each take 10,000 seconds."""
    made = recording(tandem("a"), alike(a=Service(0.1, 3.6)), cores=2)
    many = Footprint(costs={str(n): {"requests": 1.0, "bytes": 1e6} for n in range(50)})
    free = make_plan(made, many, 1_000_000, None, machines=1000)
    assert (free.machines, free.enough) == (1000, None)
    assert 2000 <= free.within < 2300
    assert free.binds.what == "2 cores"
    fleet = Fleet(rates={"requests": 100.0}, each={"bytes": 1e6})
    bound = make_plan(made, many, 1_000_000, None, machines=1000, fleet=fleet)
    assert 10_000 <= bound.within < 11_500
    assert bound.binds.what == "requests: 360,000 an hour in all"
    assert bound.enough is not None
    assert bound.enough[0] == 180  # 1,800,000 seconds of one machine's cores over 10,000
    [link] = [limit for limit in bound.limits if limit.what.startswith("bytes")]
    assert (link.divides, link.on(1000)) == (True, pytest.approx(1000))
    text = render_plan(bound)
    assert text.startswith("1,000,000 items on 1,000 machines take 2 h 46 min")
    assert "More than 180 machines do not help: then requests" in text


def test_a_coordinator_passes_on_every_attempt_of_a_cluster() -> None:
    made = recording(tandem("a", "b"), alike(a=1.0, b=1.0), handover=0.001)
    apart = make_plan(made, Footprint(), 100_000, None, machines=50)
    cluster = make_plan(made, Footprint(), 100_000, None, machines=50, fleet=Fleet(cluster=True))
    [own] = [limit for limit in cluster.limits if limit.what.startswith("the coordinator")]
    assert (own.what, own.divides) == ("the coordinator: 1 ms an attempt", False)
    assert own.seconds.value == pytest.approx(200)
    assert not [limit for limit in apart.limits if limit.what.startswith("the coordinator")]
    assert "a folder of its own" not in render_plan(cluster)


def test_a_rate_that_machines_share_does_not_grow_with_them() -> None:
    items = [item(str(n), a=Visit([Service(1.0)], key="h")) for n in range(50)]
    made = recording(tandem("a"), items, capacities=Capacities(2.0), shares_gates=True)
    plan = make_plan(made, Footprint(), 1000, None, machines=10)
    assert (plan.binds.what, plan.binds.divides) == ("h: limits.rate = 2 in all", False)
    assert plan.within >= 500


@pytest.mark.parametrize("given", [[], ["--within", "1h", "--machines", "2"]])
def test_a_time_or_machines_are_asked_for(tmp_path: Path, given: list[str]) -> None:
    refused = CliRunner().invoke(main, ["plan", str(tmp_path), "--items", "9", *given])
    assert refused.exit_code == 2
    assert "give --within, for the machines that it takes, or --machines" in refused.output


def placed_recording() -> Recording:
    """a takes 0.01 core seconds on the coordinator, b a second of a node's CPU, c half a second of
    two; 2 ms between two attempts."""
    items = alike(200, a=Service(0.0, 0.01), b=1.0, c=0.5)
    takes = {"b": {"CPU": 1.0}, "c": {"CPU": 2.0}}
    return recording(tandem("a", "b", "c"), items, cores=2, handover=0.002, placed=takes)


def test_the_nodes_of_a_cluster_bind_until_its_coordinator_does() -> None:
    """An item takes 2 CPU seconds of nodes of 5: 0.4 seconds on one of them, and c has 2 places
    there. The coordinator takes 6 ms, so 67 nodes are enough for it."""
    made, fleet = placed_recording(), Fleet(cluster=True, node={"CPU": 5.0})
    few = make_plan(made, Footprint(), 100_000, None, nodes=10, fleet=fleet)
    alone = {limit.what: (limit.seconds.value, limit.divides) for limit in few.limits}
    assert alone == {
        "nodes of CPU 5": (pytest.approx(40_000), True),
        "b: 5 places on a node": (pytest.approx(20_000), True),
        "c: 2 places on a node": (pytest.approx(25_000), True),
        "2 cores of the coordinator": (pytest.approx(500), False),
        "the coordinator: 2 ms an attempt": (pytest.approx(600), False),
    }
    assert (few.machines, few.nodes, few.binds.what) == (1, 10, "nodes of CPU 5")
    assert 4000 / FULL <= few.within < 1.3 * 4000 / FULL
    assert few.enough is not None
    assert (few.enough[0], few.enough[1].what) == (67, "the coordinator: 2 ms an attempt")
    many = make_plan(made, Footprint(), 100_000, None, nodes=200, fleet=fleet)
    assert many.binds.what == "the coordinator: 2 ms an attempt"
    assert 600 <= many.within < 1.3 * 600 / FULL
    told = render_plan(many)
    assert told.startswith("100,000 items on 200 nodes take")
    assert "More than 67 nodes do not help" in told


def test_a_plan_says_how_many_nodes_a_time_takes() -> None:
    """40,000 seconds of one node are 12.3 nodes for an hour at 90%."""
    fleet = Fleet(cluster=True, node={"CPU": 5.0})
    plan = make_plan(placed_recording(), Footprint(), 100_000, 3600.0, fleet=fleet)
    assert plan.nodes is not None
    assert 13 <= plan.nodes <= 16
    assert plan.in_time
    hurried = make_plan(placed_recording(), Footprint(), 100_000, 300.0, fleet=fleet)
    assert not hurried.in_time
    assert "cannot be kept to within 5 min 00 s, whatever the nodes" in render_plan(hurried)


@pytest.mark.parametrize(
    ("node", "placed", "told"),
    [
        ({"CPU": 1.0}, {"a": {"CPU": 2.0}}, "a worker of a takes CPU 2; give larger nodes"),
        ({"GPU": 1.0}, {"a": {"CPU": 2.0}}, "of what workers take, which is CPU"),
        ({"CPU": 1.0}, {}, "no step of the recorded run was on a cluster"),
    ],
)
def test_nodes_that_hold_no_worker_are_refused(
    node: dict[str, float], placed: dict[str, dict[str, float]], told: str
) -> None:
    made = recording(tandem("a"), alike(a=1.0), placed=placed)
    with pytest.raises(UsageError, match=told):
        make_plan(made, Footprint(), 100, None, nodes=2, fleet=Fleet(cluster=True, node=node))


def test_a_run_with_a_step_on_a_cluster_is_planned_for_nodes_by_the_command(
    worked: tuple[Path, Pipeline],
) -> None:
    folder, pipeline = worked
    asked = ["plan", str(folder), "--items", "100000"]
    on_nodes = ["--nodes", "20", "--node", "CPU=4"]
    refused = CliRunner().invoke(main, [*asked, *on_nodes])
    assert refused.exit_code == 2
    assert "no step of the recorded run was on a cluster" in refused.stderr
    for wrong, told in (
        (["--nodes", "2"], "--nodes 2: say what each has, such as --node CPU=8,GPU=1"),
        (["--machines", "2", "--node", "CPU=4"], "leave out --machines and --each"),
        (["--nodes", "2", "--machines", "2", "--node", "CPU=4"], "give --within, for"),
    ):
        refused = CliRunner().invoke(main, [*asked, *wrong])
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
        assert told in refused.stderr
    run(pipeline, folder, ["1000", "3000"], "stages.a.keep=false", "stages.b.placement=ray")
    told = CliRunner().invoke(main, [*asked, *on_nodes])
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("100,000 items on 20 nodes take ")
    assert "20 nodes" in told.stdout
    assert "b: 4 places on a node" in told.stdout
    found = json.loads(CliRunner().invoke(main, [*asked, *on_nodes, "--json"]).stdout)
    assert (found["machines"], found["nodes"], found["node"]) == (1, 20, {"CPU": 4})
