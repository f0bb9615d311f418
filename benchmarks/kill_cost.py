"""What a SIGKILL costs a crawl of one long video: at moments spread over it, then given again.

    python -m benchmarks.kill_cost                                 # a video that it makes itself
    python -m benchmarks.kill_cost --folder CLIPS --weights yolo11n.onnx --classes person
    python -m benchmarks.kill_cost --baseline CHECKOUT             # of the code there

The crawl is `benchmarks/long_video.py`'s. It runs once undisturbed; then, for each moment, it runs
from nothing, is killed, and is given again until it ends. What is lost is what both runs together
took more than the undisturbed one: in processor seconds (those of the killed run's own processes
left out), in wall time (a start of the command and of the model included), and in requests. Only
attempts that were in hand should be begun again, and only descriptions that the server had not
answered yet be paid twice.
"""

import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crawl_command import children_seconds, crawling, ended_well, penstock_of
from benchmarks.crawl_material import (
    REQUESTS,
    add_crawl_options,
    crawl_settings,
    found_videos,
    long_video,
)
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.long_video import QUICK_SECONDS, SECONDS, SPEED, fingerprint
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.servers import Behaviour, DescriptionServer, answering, serving
from engine.bench.intervals import interval
from engine.ledger.schema import FILE

KILLS, QUICK_KILLS = 20, 2


@dataclass(frozen=True)
class Crawl:
    """What is crawled, and the server that describes it."""

    command: Sequence[str]
    url: str
    settings: Sequence[str]
    server: DescriptionServer

    def undisturbed(self) -> Figures:
        return self._runs(None)

    def killed(self, after: float, undisturbed: Figures) -> Figures:
        """Killed so many seconds after its start, and given again."""
        taken = self._runs(after)
        return {
            "processor s lost": taken["processor"] - undisturbed["processor"],
            "wall s lost": taken["wall"] - undisturbed["wall"],
            "requests again": taken["requests"] - undisturbed["requests"],
            "paid twice": taken["paid twice"],
            "not in flight": taken["paid twice"] - taken["met in flight"],
            "attempts again": taken["again"],
            "not in hand": taken["again"] - taken["in hand"],
            "differs": float(taken["dataset"] != undisturbed["dataset"]),
        }

    def _runs(self, kill_after: float | None) -> Figures:
        self.server.restart(Behaviour(requests_per_minute=REQUESTS))
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder, "work")
            used, began = children_seconds(), time.monotonic()
            in_hand, in_flight = (
                (0, 0.0) if kill_after is None else self._killed_run(work, kill_after)
            )
            with crawling(self.command, [self.url], self.settings, work) as process:
                ended_well(process, "the crawl")
            return {
                "wall": time.monotonic() - began,
                "processor": children_seconds() - used,
                "again": _number(work, "count(*) - count(DISTINCT item || stage)"),
                "in hand": in_hand,
                "met in flight": in_flight,
                "dataset": fingerprint(work / "dataset"),
                **self.server.figures(),
            }

    def _killed_run(self, work: Path, after: float) -> tuple[int, float]:
        """The numbers of attempts, and of requests, that the kill met."""
        in_flight = 0.0
        with crawling(self.command, [self.url], self.settings, work) as process:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.kill()
                in_flight = self.server.figures()["in flight"]
                process.wait()
        return _number(work, "count(*) FILTER (WHERE ended IS NULL)"), in_flight


def _number(work: Path, what: str) -> int:
    """A number from the ledger's attempts; 0 where there is no ledger yet."""
    if not (work / FILE).exists():
        return 0
    with closing(sqlite3.connect(work / FILE)) as db:
        if not db.execute("SELECT name FROM sqlite_master WHERE name = 'attempts'").fetchall():
            return 0
        found: int = db.execute(f"SELECT {what} FROM attempts").fetchone()[0]
    return found


def main() -> None:
    command = parser(__doc__, rounds=1)
    add_crawl_options(command)
    command.add_argument("--seconds", type=int, help=f"the video's length ({SECONDS})")
    command.add_argument("--kills", type=int, help=f"moments at which it is killed ({KILLS})")
    arguments = parse(command)
    arguments.rounds = 1
    quick = arguments.quick
    length = arguments.seconds or (QUICK_SECONDS if quick else SECONDS)
    kills = arguments.kills or (QUICK_KILLS if quick else KILLS)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        video = long_video(found_videos(arguments.folder, temporary), length)
        [url] = stack.enter_context(serving([video], SPEED))
        server = stack.enter_context(answering(Behaviour()))
        shared = [*crawl_settings(arguments, server.url), "stages.extract.keep=false"]
        crawl = Crawl(penstock_of(arguments.baseline), url, [*shared, *arguments.set], server)
        undisturbed = crawl.undisturbed()
        moments = [undisturbed["wall"] * (number + 0.5) / kills for number in range(kills)]
        killed = {moment: crawl.killed(moment, undisturbed) for moment in moments}
    finish(
        Measurement(
            "kill_cost",
            "What a SIGKILL costs a crawl of one long video",
            [
                Table(
                    "killed after",
                    [
                        Row(
                            f"{moment:.1f} s",
                            {key: interval([value]) for key, value in one.items()},
                        )
                        for moment, one in killed.items()
                    ],
                )
            ],
            [
                _most("datasets that differ from the undisturbed one", "differs", killed.values()),
                _most("attempts begun again, not in hand", "not in hand", killed.values()),
                _most("descriptions paid twice, not in flight", "not in flight", killed.values()),
            ],
            1,
            quick=quick,
            notes=[
                f"The video: {length} s of 720p; undisturbed its crawl takes "
                f"{undisturbed['wall']:.1f} s and {undisturbed['processor']:.1f} processor seconds."
            ],
        ),
        arguments,
    )


def _most(what: str, key: str, killed: Iterable[Figures]) -> Target:
    """A target of none, at any moment."""
    return Target(what, interval([max(one[key] for one in killed)]), 0)


if __name__ == "__main__":
    main()
