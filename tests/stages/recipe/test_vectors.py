"""Vectors of a recipe are made before it is persisted, each once, beside the uploads."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from engine import AttemptStarted, Events
from stages.persistence.store import embedded_texts
from stages.recipe.pipeline import recipe
from tests.stages.recipe.cooking import make_video, run, says
from tests.stages.recipe.test_uploads import persisted
from tests.stages.store.servers import S3_KEYS, refusing
from tests.stages.vision_server import Answer, Request, openai, problem, serving


class Asked:
    """The texts of each request for vectors, in order; those with one of `failing` get a 400 as
    long as `fails`. `of_the_document` is set when vectors of the document are asked for."""

    def __init__(self, failing: str = "\0", fails: int = 0) -> None:
        self.requests: list[list[str]] = []
        self.of_the_document = threading.Event()
        self._failing, self._fails = failing, fails

    def __call__(self, number: int, request: Request) -> Answer | None:
        if not request.path.endswith("/embeddings"):
            return None
        texts = request.body["input"]
        if self._fails and any(self._failing in text for text in texts):
            self._fails -= 1
            return problem(400)
        self.requests.append(texts)
        if any("butter" in text for text in texts):
            self.of_the_document.set()
        data = [{"index": n, "embedding": [1.0, 0.5]} for n in range(len(texts))]
        return Answer(200, json.dumps({"data": data}).encode())

    @property
    def texts(self) -> Counter[str]:
        return Counter(text for texts in self.requests for text in texts)


def test_all_vectors_are_made_while_files_are_on_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes nothing until vectors of the document are asked for: would they wait for the
    uploads, this would not come to its end."""
    pytest.importorskip("obstore")
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    asked, made_before, events = Asked(), list[int](), Events()

    def listen(event: object) -> None:
        if isinstance(event, AttemptStarted) and event.stage == "persist":
            made_before.append(len(asked.requests))

    events.subscribe(listen)
    work, video = tmp_path / "work", make_video(tmp_path / "omelette.mp4", shots=3)
    with (
        serving(says=says, fault=asked) as server,
        refusing(200, "", after=asked.of_the_document) as store,
    ):
        sets = {"upload__url": "s3://kitchen", "upload__endpoint": store}
        sets |= {"persist__meaning": "api", "persist__base_url": f"{server.origin}/v1"}
        report = run(work, openai(server), video, events=events, **sets)
    assert report.items["done"] == 1
    assert made_before == [2], "those of the notes, those of the document, and none by persist"
    assert len(asked.requests) == 2
    rows, document = persisted(work)
    assert document["stored"]["address"].startswith("s3://kitchen/")
    assert asked.texts == Counter(set(embedded_texts(rows)))
    assert not any("://" in text for text in asked.texts), "links are no words"


def test_what_one_step_could_not_embed_persist_embeds(tmp_path: Path) -> None:
    asked = Asked("butter", fails=1)
    work, video = tmp_path / "work", make_video(tmp_path / "omelette.mp4", shots=2)
    with serving(says=says, fault=asked) as server:
        sets = {"persist__meaning": "api", "persist__base_url": f"{server.origin}/v1"}
        report = run(work, openai(server), video, embed_document__attempts=1, **sets)
    assert report.items["done"] == 1
    failed = {count.stage: count.failed for count in report.counts}
    assert (failed["embed"], failed["embed_document"], failed["persist"]) == (0, 1, 0)
    rows, _ = persisted(work)
    probe = Counter(["text"])  # whether it was these texts that the server refused, or all
    assert asked.texts == Counter(set(embedded_texts(rows))) + probe


def test_a_dry_run_counts_what_would_be_embedded(tmp_path: Path) -> None:
    flag = next(flag for flag in recipe.flags if flag.name == "--dry-run")
    asked = Asked()
    work, video = tmp_path / "work", make_video(tmp_path / "omelette.mp4", shots=3)
    with serving(says=says, fault=asked) as server:
        sets = {"persist__meaning": "api", "persist__base_url": f"{server.origin}/v1"}
        nothing_known = run(work, openai(server), video, flags=flag.sets, **sets)
        assert not server.requests
        run(work, openai(server), video, persist__meaning="off")
        all_known = run(work, openai(server), video, flags=flag.sets, **sets)
        assert not asked.requests
        run(work, openai(server), video, **sets)
    frames = len(list((work / "items").glob("*/frames.parts/*")))
    for report, texts in ((nothing_known, frames + 1), (all_known, asked.texts.total())):
        told = [line for line in report.finish if "vectors" in line]
        assert told[0].startswith(f"dry run: vectors of {texts} texts would take 2 calls to ")
    assert len(asked.requests) == 2
