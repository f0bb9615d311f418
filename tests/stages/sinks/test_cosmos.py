"""The Cosmos DB sink, by the service's own client, against a stand-in that holds its limits."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Permanent, StopRun, Throttled, UsageError
from stages.persistence.store import Store, StoreSettings
from stages.sinks.cosmos import VIDEO, CosmosSink
from stages.sinks.cosmos_batches import (
    MOST_BYTES,
    MOST_ITEM_BYTES,
    MOST_OPERATIONS,
    ItemTooLarge,
    Operation,
    batches,
    size_of,
)
from tests.stages.sinks.cosmos_server import CosmosServer, cosmos_server
from tests.stages.sinks.records import scene, video

pytest.importorskip("azure.cosmos")


@pytest.fixture
def server(monkeypatch) -> Iterator[CosmosServer]:
    monkeypatch.setenv("COSMOS_KEY", "c2VjcmV0")
    with cosmos_server() as made:
        yield made


def sink(server: CosmosServer) -> CosmosSink:
    return CosmosSink(server.url, "COSMOS_KEY", "penstock", "scenes")


def film(scenes: int, text: str = "", name: str = "film"):
    return video(
        name, *(scene(place, description=text or f"scene {place}") for place in range(scenes))
    )


def test_an_hour_is_written_at_once_and_leaves_no_orphans(server):
    with sink(server) as store:
        store.write(film(75))
        assert server.batches == [76], "in one transaction"
        store.write(film(75))
        assert server.batches == [76], "and not again"
        items = server.items["film"]
        assert {item["video_id"] for item in items.values()} == {"film"}
        assert items[VIDEO]["title"] == "Film"
        assert [item["index"] for item in store.read("film")] == list(range(75))

        store.write(film(20, "shorter"))
        assert len(server.items["film"]) == 21
        assert {item["description"] for item in store.read("film")} == {"shorter"}
        store.write(film(3, name="other"))
        assert {name: one.generation for name, one in store.written().items()} == {
            "film": film(20, "shorter").generation,
            "other": film(3, name="other").generation,
        }
        assert store.remove("film")
        assert not store.remove("film")
        assert store.read("film") == []
        assert list(server.items["other"])


def test_a_long_video_is_read_in_one_generation_wherever_the_writing_ends(server):
    with sink(server) as store:
        store.write(film(250, "old"))
        assert store.read("film")[249]["description"] == "old"
        assert server.largest_page == 100, "page by page"
        for batch in range(20):
            server.die_after = len(server.batches) + batch
            try:
                store.write(film(240, "new"))
            except StopRun:
                found = store.read("film")
                told = {item["description"] for item in found}
                assert (len(found), told) in ((250, {"old"}), (240, {"new"}))
                server.die_after = None
                store.write(film(250, "old"))
            else:
                break
        assert batch == 5, "three batches of scenes and the document, three of what is old"
        assert len(server.items["film"]) == 241
        assert max(server.batches) <= MOST_OPERATIONS


def test_a_whole_batch_that_is_throttled_is_waited_for(server, monkeypatch):
    monkeypatch.setattr("stages.sinks.cosmos.RETRIES", 1)
    with sink(server) as store:
        server.throttle = 50
        with pytest.raises(Throttled, match="provisioned") as error:
            store.write(film(3))
        assert error.value.after == 0.2
        server.throttle = 0
        store.write(film(3))
        assert len(store.read("film")) == 3


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_an_item_that_is_too_large_is_named(server):
    with sink(server) as store, pytest.raises(Permanent, match=r"film: [\w.]+-000000 has 2,"):
        store.write(film(1, "x" * MOST_BYTES))
    with sink(server) as store:
        store.write(film(5, "é" * 200_000))
        assert len(store.read("film")) == 5


def test_what_is_missing_is_named(server, monkeypatch):
    monkeypatch.delenv("COSMOS_KEY")
    with pytest.raises(UsageError, match="COSMOS_KEY"):
        sink(server)


def test_a_run_names_what_its_settings_lack(tmp_path, server):
    with pytest.raises(UsageError, match=r"stages\.persist\.cosmos_url has to name an account"):
        Store(StoreSettings(sinks=("cosmos",)), tmp_path, None)
    both = StoreSettings(sinks=("sqlite", "cosmos"), cosmos_url=server.url)
    store = Store(both, tmp_path, None)
    store.write(film(2))
    store.close()
    assert len(server.items["film"]) == 3


OPERATIONS = st.one_of(
    st.builds(lambda id_: ("delete", (id_,)), st.text(max_size=50)),
    st.builds(
        lambda id_, text, times: ("upsert", ({"id": id_, "text": text * times},)),
        st.text(max_size=20),
        st.text(min_size=1, max_size=10),
        st.sampled_from([1, 1, 1, 1000, 60_000]),
    ),
)


@given(st.lists(OPERATIONS, max_size=20), st.integers(1, 30))
def test_batches_keep_the_limits_and_the_order(some: list[Operation], times: int):
    operations = some * times
    if any(size_of(one) > MOST_ITEM_BYTES for one in some):
        with pytest.raises(ItemTooLarge):
            list(batches(operations))
        return
    found = list(batches(operations))
    assert [one for batch in found for one in batch] == operations
    for batch in found:
        body = [
            {"operationType": name, "resourceBody" if name == "upsert" else "id": value}
            for name, (value,) in batch
        ]
        assert 1 <= len(batch) <= MOST_OPERATIONS
        assert len(json.dumps(body).encode()) <= MOST_BYTES
    for batch, following in pairwise(found):
        full = sum(map(size_of, batch)) + size_of(following[0]) + 2 > MOST_BYTES
        assert len(batch) == MOST_OPERATIONS or full
