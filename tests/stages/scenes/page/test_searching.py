"""Questions from the live page that are answered by meaning, too."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.persistence.store import Store, StoreSettings, find_embedder
from stages.scenes.page import searching
from stages.scenes.page.searching import PageSearch
from stages.search.api_embedder import ApiEmbedder
from stages.search.embedding import Embedded
from stages.sinks.sqlite import SqliteSink
from tests.stages.search.test_meaning import embedding
from tests.stages.sinks.records import scene, video

FILMS = video(
    "v", scene(0, description={"description": "aaa"}), scene(1, description={"description": "bbb"})
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("EMBED_KEY", "secret")
    with embedding() as made:
        yield made


@pytest.fixture
def database(tmp_path: Path, server: Any) -> Path:
    store = Store(settings_of(server), tmp_path, find_embedder(settings_of(server)))
    store.write(FILMS)
    store.close()
    server.asked.clear()
    return tmp_path / "search.db"


def settings_of(server: Any) -> StoreSettings:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return StoreSettings(meaning="api", model="m", base_url=url, api_key_env="EMBED_KEY")


def test_a_question_is_paid_once_and_goes_to_the_runs_own_server_alone(database, server):
    own = settings_of(server).base_url
    asking = PageSearch()
    first, again = (asking.find(database, "aa", "", {"v"}, own) for _ in range(2))
    assert first["hits"][0]["scene"]["index"] == 0
    assert again == first
    assert first["problem"] is None
    assert server.asked == [["aa"]]

    assert PageSearch().find(database, "aaa", "", {"another"}, own)["hits"] == []

    server.asked.clear()
    words_alone = PageSearch().find(database, "bbb", "", {"v"}, None)
    assert [hit["scene"]["index"] for hit in words_alone["hits"]] == [1]
    assert "its vectors were made by http://127.0.0.1" in words_alone["problem"]
    assert server.asked == []


def test_no_writer_waits_for_a_question_to_be_embedded(database, server, monkeypatch):
    class Writing(ApiEmbedder):
        def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
            with SqliteSink(database) as sink:
                sink.write(video("w", scene(0, description={"description": "aab"})))
            return super().embed(texts)

    own = settings_of(server)
    embedder = Writing("m", own.base_url, own.api_key_env)
    monkeypatch.setattr(searching, "embedder_of", lambda *_, **__: embedder)
    found = PageSearch().find(database, "aab", "", {"v", "w"}, own.base_url)
    assert {hit["video"] for hit in found["hits"]} == {"v", "w"}
