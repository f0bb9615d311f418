"""What people would use in Penstock's place for a crawl, each calling the same stage functions.

    python -m benchmarks.crawl_contestants NAME < crawling.json

It prints {"wall s", "frames", "described"}. Every contestant is a process of its own, and ends with
the dataset, which is deduplicated across videos. None of the others keeps a ledger, syncs its
outputs, retries or resumes.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import Drop, Item, Permanent, Stage
from engine.config.load import Config, load_config
from engine.contract.pipeline import FinishContext, ItemRecord
from engine.flow.opening import run_pipeline
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.dataset.build import build_dataset
from stages.crawl.pipeline import crawl
from tests.stages.splitting import split_whole

THREADS = 4
"""Videos at once of the thread pool: as many as Penstock has download workers."""

WORKERS = {"download": 4, "extract": 2, "filter": 2, "describe": 4, "dedup": 2}
"""Penstock's own defaults, which the sketch and Ray Data are given too."""


@dataclass(frozen=True)
class Crawling:
    """What to crawl, and how: settings as --set takes them."""

    urls: Sequence[str]
    settings: Sequence[str]
    workdir: str

    def config(self) -> Config:
        return load_config(crawl, None, {}, self.settings, {})


class Stages:
    """The stages' instances, as their contract wants them: one for each thread that calls it, but
    for the async stage, which has a loop in a thread of its own."""

    def __init__(self, crawling: Crawling) -> None:
        self.workdir = Path(crawling.workdir)
        self._config = crawling.config()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, int], Stage] = {}

    def _stage(self, name: str) -> Stage:
        kind = crawl[name].stage
        key = (name, 0 if kind.is_async() else threading.get_ident())
        with self._lock:
            if key not in self._opened:
                stage = kind(self._config.stages[name].settings, self.workdir)
                self._call(stage, stage.open)
                self._opened[key] = stage
            return self._opened[key]

    def _call(self, stage: Stage, function: Callable[..., Any], *arguments: Any) -> None:
        if stage.is_async():
            asyncio.run_coroutine_threadsafe(function(*arguments), self._loop).result()
        else:
            function(*arguments)

    def process(self, name: str, item: Item) -> bool:
        """One stage over one item; false where that is the end of it."""
        stage, out = self._stage(name), open_scratch(item, name)
        try:
            given = item.with_inputs(crawl.inputs(name))
            if stage.splits():
                split_whole(stage, given, out)
            else:
                self._call(stage, stage.process, given, out)
        except (Permanent, Drop):
            return False
        (out / ".penstock.json").write_text("{}")
        out.rename(item.folder / name)
        return True

    def close(self) -> None:
        for stage in self._opened.values():
            self._call(stage, stage.close)
        self._loop.call_soon_threadsafe(self._loop.stop)


def sequential(crawling: Crawling) -> None:
    """A plain loop: one video after the other."""
    stages = Stages(crawling)
    for url in crawling.urls:
        item = Item.at(stages.workdir, url)
        all(stages.process(name, item) for name in crawl.names)
    stages.close()


def threads(crawling: Crawling) -> None:
    """One video a thread, from its start to its end; before the detector as many at once as have
    it in Penstock."""
    stages, detector = Stages(crawling), threading.Semaphore(WORKERS["filter"])

    def one(url: str) -> None:
        item = Item.at(stages.workdir, url)
        for name in crawl.names:
            if name == "filter":
                with detector:
                    going_on = stages.process(name, item)
            else:
                going_on = stages.process(name, item)
            if not going_on:
                return

    with ThreadPoolExecutor(THREADS) as pool:
        found: list[Future[None]] = [pool.submit(one, url) for url in crawling.urls]
        for future in found:
            future.result()
    stages.close()


def sketch(crawling: Crawling) -> None:
    """The asyncio script that people write first: unbounded queues, looked into once a second."""
    stages = Stages(crawling)

    async def main() -> None:
        queues: dict[str, asyncio.Queue[Item]] = {name: asyncio.Queue() for name in crawl.names}
        running = dict.fromkeys(crawl.names, True)
        order = list(crawl.names)
        for url in crawling.urls:
            queues[order[0]].put_nowait(Item.at(stages.workdir, url))

        async def work(place: int) -> None:
            name = order[place]
            while True:
                try:
                    item = queues[name].get_nowait()
                except asyncio.QueueEmpty:
                    if place == 0 or not running[order[place - 1]]:
                        return
                    await asyncio.sleep(1)
                    continue
                if await asyncio.to_thread(stages.process, name, item) and place + 1 < len(order):
                    queues[order[place + 1]].put_nowait(item)

        async def pool(place: int) -> None:
            await asyncio.gather(*(work(place) for _ in range(WORKERS[order[place]])))
            running[order[place]] = False

        await asyncio.gather(*(pool(place) for place in range(len(order))))

    asyncio.run(main())
    stages.close()


def ray_data(crawling: Crawling) -> None:
    """Ray Data: a map for each stage, with as many actors as Penstock has workers."""
    import ray

    ray.init(
        num_cpus=2 * sum(WORKERS.values()),
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"RAY_USAGE_STATS_ENABLED": "0"}},
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    class Mapper:
        def __init__(self, name: str, given: dict[str, Any]) -> None:
            self.name = name
            self.stages = Stages(Crawling(**given))

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            if row["going_on"]:
                item = Item.at(self.stages.workdir, row["url"])
                row["going_on"] = self.stages.process(self.name, item)
            return row

    rows = [{"url": url, "going_on": True} for url in crawling.urls]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    for name in crawl.names:
        data = data.map(
            Mapper,
            fn_constructor_args=(name, asdict(crawling)),
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=_actors(name)),
        )
    data.materialize()
    ray.shutdown()


def _actors(name: str) -> int:
    """One limiter, or the rate is exceeded; one model, where each process has its own."""
    return 1 if name in ("describe", "filter") else WORKERS[name]


def penstock(crawling: Crawling) -> None:
    """Penstock as a user runs it: ledger, syncing."""
    run_pipeline(crawl, crawling.config(), Path(crawling.workdir), crawling.urls)


def with_dataset(crawled: Callable[[Crawling], None]) -> Callable[[Crawling], None]:
    """The same, and then what Penstock's run ends with: the dataset, of all that came through."""

    def contend(crawling: Crawling) -> None:
        crawled(crawling)
        folders = sorted(Path(crawling.workdir, "items").iterdir())
        records = [
            ItemRecord(
                id=folder.name,
                source=folder.name,
                folder=folder,
                parent=None,
                outcome="done" if (folder / "dedup").is_dir() else "failed",
                stage=None,
                reason=None,
                kind=None,
                expanded=None,
            )
            for folder in folders
        ]
        settings = {name: stage.settings for name, stage in crawling.config().stages.items()}
        build_dataset(FinishContext(Path(crawling.workdir), settings, {}, lambda: iter(records)))

    return contend


CONTESTANTS: dict[str, Callable[[Crawling], None]] = {
    "sequential": with_dataset(sequential),
    "one video a thread": with_dataset(threads),
    "asyncio sketch": with_dataset(sketch),
    "Ray Data": with_dataset(ray_data),
    "Penstock": penstock,
}


def finished_lines(workdir: Path, file: str, step: str) -> Iterator[str]:
    """The lines of all files of that name in the step's finished outputs, wherever those lie."""
    for path in sorted(Path(workdir, "items").rglob(file)):
        folders = path.relative_to(workdir).parts[:-1]
        if folders[-1].partition(".")[0] == step and not any(f.startswith(".") for f in folders):
            yield from path.read_text().splitlines()


def main() -> None:
    crawling = Crawling(**json.load(sys.stdin))
    Path(crawling.workdir).mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    CONTESTANTS[sys.argv[1]](crawling)
    wall = time.monotonic() - began
    workdir = Path(crawling.workdir)
    frames = sum(1 for _ in finished_lines(workdir, "frames.jsonl", "extract"))
    lines = finished_lines(workdir, "descriptions.jsonl", "describe")
    described = sum(bool(json.loads(line)["description"]) for line in lines)
    print(json.dumps({"wall s": wall, "frames": frames, "described": described}))


if __name__ == "__main__":
    main()
