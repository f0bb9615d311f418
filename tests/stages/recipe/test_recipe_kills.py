"""A recipe run, killed at any moment: the same document, and no answer is paid for twice."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stages.persistence.store import DATABASE, StoreSettings, find_embedder
from stages.sinks.sqlite import SqliteSink
from tests.acceptance.outcome import check_nothing_ran_twice, check_paid_once, kept_answers
from tests.stages.recipe.cooking import QUICK, make_video, run, says
from tests.stages.vision_server import Answer, Request, VisionServer, openai, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IN_HAND = 3
"""Questions of which the answers may not be kept yet: one for each worker."""


@dataclass(frozen=True)
class Kitchen:
    """A server, the video, what an undisturbed run left and asked, and the latest count."""

    server: VisionServer
    video: Path
    out: Path
    every: frozenset[str]
    asked: threading.Condition
    others: Sequence[str] = ()
    """Settings beside."""

    def command(self, out: Path) -> list[str]:
        sets = [f"stages.analyse.{name}={value}" for name, value in openai(self.server).items()]
        sets += ["stages.analyse.workers=2", "stages.write.workers=1", "defaults.attempts=100"]
        words = [word for one in [*QUICK, *sets, *self.others] for word in ("--set", one)]
        command = [sys.executable, "-m", "penstock", "recipe", str(self.video), "--quiet"]
        return [*command, *words, "--out", str(out)]

    def killed(self, out: Path, after: int, seconds: float) -> bool:
        """Kill a run so long after its question of that number, from 1; false where it ended."""
        before = len(self.server.requests)
        with subprocess.Popen(self.command(out)) as process:
            with self.asked:
                while len(self.server.requests) < before + after and process.poll() is None:
                    self.asked.wait(0.2)  # nobody tells that it has ended
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            return process.wait() != 0


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp("kitchen")
    video, asked = make_video(folder / "omelette.mp4"), threading.Condition()

    def fault(number: int, request: Request) -> Answer | None:
        with asked:
            asked.notify_all()
        return None

    with serving(says=says, fault=fault, latency=0.1) as server:
        report = run(folder / "out", openai(server), video)
        assert report.items["done"] == 1
        every = frozenset(bodies(server.requests))
        assert len(every) == 8
        yield Kitchen(server, video, folder / "out", every, asked)


def bodies(requests: Sequence[Request]) -> Counter[str]:
    return Counter(json.dumps(one.body) for one in requests)


def check_kills(kitchen: Kitchen, out: Path, moments: Sequence[tuple[int, float]]) -> None:
    """Killed at each of these moments in turn, and then brought to its end."""
    asked: list[Counter[str]] = []
    kept: list[set[str]] = []
    left = list(moments)
    while len(asked) == len(kept):
        first = len(kitchen.server.requests)
        if left and kitchen.killed(out, *left.pop(0)):
            kept.append(kept_answers(out))
        elif not (out / "documents").is_dir():
            subprocess.run(kitchen.command(out), check=True)
        asked.append(bodies(kitchen.server.requests[first:]))
    check_paid_once(asked, kept, kitchen.every, IN_HAND)
    check_nothing_ran_twice(out)
    for name in ("omelette.json", "omelette.md"):
        found = (out / "documents" / name).read_bytes()
        assert found == (kitchen.out / "documents" / name).read_bytes()
    assert not list(out.rglob(".*.scratch-*"))


def test_kills_while_frames_are_looked_at_and_while_the_document_is_written(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    check_kills(kitchen, tmp_path / "out", [(2, 0.05), (3, 0.15), (1, 0.02)])


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_seeded_moments(kitchen: Kitchen, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    moments = [(dice.randint(1, 4), dice.uniform(0, 0.3)) for _ in range(2)]
    check_kills(kitchen, tmp_path / "out", moments)


class Vectors:
    """Answers what is asked for vectors; `texts` are those of each request, from its arrival on."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []

    def __call__(self, number: int, request: Request) -> Answer | None:
        if not request.path.endswith("/embeddings"):
            return None
        texts = request.body["input"]
        self.texts.append(texts)
        data = [{"index": n, "embedding": [1.0, 0.5]} for n in range(len(texts))]
        return Answer(200, json.dumps({"data": data}).encode())


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(10))
def test_kills_while_vectors_are_made(kitchen: Kitchen, tmp_path: Path, seed: int) -> None:
    """What has a vector when a run is killed is not paid for again, and in the end all have one."""
    dice, vectors, asked = random.Random(seed), Vectors(), threading.Condition()

    def fault(number: int, request: Request) -> Answer | None:
        with asked:
            asked.notify_all()
        return vectors(number, request)

    with serving(says=says, fault=fault, latency=0.1) as server:
        settings = StoreSettings(meaning="api", base_url=f"{server.origin}/v1")
        others = ["stages.persist.meaning=api", f"stages.persist.base_url={settings.base_url}"]
        killing = replace(kitchen, server=server, asked=asked, others=others)
        subprocess.run(killing.command(tmp_path / "undisturbed"), check=True)
        every = {text for texts in vectors.texts for text in texts}
        out, paid = tmp_path / "out", set[str]()
        for after in (dice.randint(7, 10), 1, 1):
            first = len(vectors.texts)
            killing.killed(out, after, dice.uniform(0, 0.3))
            asked_now = {text for texts in vectors.texts[first:] for text in texts}
            assert not asked_now & paid
            paid = with_vectors(settings, out, every)
        first = len(vectors.texts)
        subprocess.run(killing.command(out), check=True)
        assert not {text for texts in vectors.texts[first:] for text in texts} & paid
        assert with_vectors(settings, out, every) == every
    check_nothing_ran_twice(out)


def with_vectors(settings: StoreSettings, out: Path, texts: Collection[str]) -> set[str]:
    """Those of the texts that have a vector in the work folder's database."""
    embedder = find_embedder(settings)
    assert embedder is not None
    if not (out / DATABASE).is_file():
        return set()
    with SqliteSink(out / DATABASE) as sink:
        return set(texts) - set(sink.without_vector(embedder.name, sorted(texts)))
