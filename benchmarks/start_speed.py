"""How long Penstock takes before it does anything: its help, and a rerun of a finished crawl.

The rerun is the command as a person gives it again, over 1,000 finished videos: it reads the list,
asks the ledger and the disk what holds, and builds the dataset. The work folder comes of a real
crawl of a few small clips, of which the other videos are copies: their outputs are committed as the
engine does it, with the same fingerprints, which say nothing of the address; a first rerun, which
does not count, then finds the folders and sets the ledger right.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Contestant, finish, parse, parser, table, take_turns, timed
from benchmarks.results import Measurement, Target
from benchmarks.servers import serving
from engine import Item
from engine.bench.intervals import interval
from engine.contract.item import MARK
from engine.ledger.outputs.folders import commit_output, open_scratch, output_mark
from stages.net.addresses import canonical_source
from tests.acceptance.clips import make_corpus
from tests.acceptance.command import SHAPES, settings

PENSTOCK = Path(sys.executable).with_name("penstock")
CLIPS = 8
VIDEOS = 1_000


def crawl(urls: list[str], folder: Path, work: Path) -> list[str]:
    """The command that crawls these."""
    listed = folder / "urls.txt"
    listed.write_text("".join(f"{url}\n" for url in urls))
    options = ["--allow-private", "--quiet", *settings(SHAPES)]
    return [str(PENSTOCK), "crawl", "--from", str(listed), "--out", str(work), *options]


def finished_crawl(folder: Path, videos: int) -> list[str]:
    """Make a work folder in which so many videos are finished; returns the command of its crawl."""
    work = folder / "work"
    with serving(make_corpus(folder / "clips", CLIPS), 1e9) as urls:
        subprocess.run(crawl(urls, folder, work), check=True)
        listed = [f"{urls[number % CLIPS]}?copy={number}" for number in range(videos)]
    for number, url in enumerate(listed):
        original = Item.at(work, canonical_source(urls[number % CLIPS]))
        for output in sorted(original.folder.iterdir()):
            _copy_output(original, Item.at(work, canonical_source(url)), output.name)
    command = crawl(listed, folder, work)
    subprocess.run(command, check=True)
    return command


def _copy_output(original: Item, copy: Item, stage: str) -> None:
    mark = output_mark(original, stage)
    assert mark is not None
    scratch = open_scratch(copy, stage)
    ignored = shutil.ignore_patterns(MARK)
    shutil.copytree(original.output(stage), scratch, dirs_exist_ok=True, ignore=ignored)
    commit_output(copy, stage, scratch, mark.fingerprint, synced=False)


def _command(words: list[str]) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    return run


def main() -> None:
    arguments = parse(parser(__doc__, rounds=5))
    videos = 40 if arguments.quick else VIDEOS
    help_, rerun = "penstock --help", f"Penstock, a rerun of {videos:,} finished videos"
    with tempfile.TemporaryDirectory() as folder:
        contestants: dict[str, Contestant] = {
            help_: timed(_command([str(PENSTOCK), "--help"])),
            "python -c pass": timed(_command([sys.executable, "-c", "pass"])),
            rerun: timed(_command(finished_crawl(Path(folder), videos))),
        }
        taken = take_turns(contestants, arguments.rounds)
    seconds = {name: interval([turn["wall s"] for turn in taken[name]]) for name in taken}
    finish(
        Measurement(
            "start_speed",
            "How long it takes to start",
            [table("Until the command has ended", taken, rerun, compared=())],
            [
                Target(f"{help_}, s", seconds[help_], 0.5),
                Target(f"a rerun of {videos:,} finished videos, s", seconds[rerun], 3.0),
            ],
            arguments.rounds,
            quick=arguments.quick,
            notes=["A rerun opens no stage; it builds the dataset again."],
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
