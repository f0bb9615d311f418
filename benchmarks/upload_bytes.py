"""What an upload sends, holds in memory and takes, next to the client library alone.

A large file and many small ones go to an S3 server on this machine, through a counter of bytes:
once by the upload stage, once by obstore's `put` as it comes, each in a process of its own. Then
both do it again, as a rerun does. The stage looks whether a file is there, hashes it twice and
sends it in pieces of 6 MB, two at a time; obstore sends what it is given, 12 pieces of 5 MB at a
time.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.harness import Contestant, Figures, finish, parse, parser, table, take_turns
from benchmarks.results import Measurement, Target
from engine import Item
from engine.bench.intervals import Interval, interval
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.files.folders import symlink_or_copy
from tests.stages.store.servers import S3_KEYS, Link, make_bucket, serving_s3

MEGABYTE = 1e6
LARGE, SMALL, COUNT = 200_000_000, 80_000, 7

OURS, ALONE = "the upload stage", "obstore alone"


def put_by_stage(folder: Path, endpoint: str, bucket: str) -> None:
    """Every file by the stage, as one item of a run."""
    from tests.stages.store.uploading import upload

    with tempfile.TemporaryDirectory() as work:
        item = Item.at(Path(work), "https://example.com/a")
        scratch = open_scratch(item, "made")
        for path in folder.iterdir():
            symlink_or_copy(path, scratch / path.name)
        commit_output(item, "made", scratch, fingerprint="benchmark")
        began = _begin()
        upload(Path(work), [item], url=f"s3://{bucket}", endpoint=endpoint)
    _tell(began)


def put_alone(folder: Path, endpoint: str, bucket: str) -> None:
    """Every file by the library, under its own name, one after the other."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    files = sorted(folder.iterdir())

    async def put() -> None:
        for path in files:
            await obstore.put_async(store, path.name, path)

    began = _begin()
    asyncio.run(put())
    _tell(began)


def _begin() -> int:
    """Bytes in memory now; the peak is counted from here on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _bytes_of("VmRSS")


def _tell(before: int) -> None:
    print(json.dumps({"memory": _bytes_of("VmHWM") - before}), flush=True)
    # A thread of the library that lets go of its last object while Python shuts down aborts it.
    os._exit(0)


def _bytes_of(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def _put(way: str, folder: Path, link: Link, bucket: str) -> Figures:
    sent, began = link.sent, time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.upload_bytes", "--put", way]
    done = subprocess.run(
        [*command, str(folder), link.url, bucket],
        env=os.environ | S3_KEYS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = json.loads(done.stdout)
    return {
        "sent MB": (link.sent - sent) / MEGABYTE,
        "memory MB": told["memory"] / MEGABYTE,
        "wall s": time.perf_counter() - began,
    }


def _turn(way: str, folder: Path, server: str, link: Link, numbers: list[int]) -> Figures:
    """A first run into a new bucket, and a rerun."""
    numbers.append(len(numbers))
    bucket = f"bucket-{len(numbers)}"
    make_bucket(server, bucket)
    first, again = (_put(way, folder, link, bucket) for _ in range(2))
    return {**first, "sent again MB": again["sent MB"]}


def main() -> None:
    if "--put" in sys.argv:
        way, folder, endpoint, bucket = sys.argv[2:]
        (put_by_stage if way == OURS else put_alone)(Path(folder), endpoint, bucket)
        return
    arguments = parse(parser(__doc__, rounds=5))
    large = LARGE // 10 if arguments.quick else LARGE
    with tempfile.TemporaryDirectory() as made, serving_s3() as server, Link(server) as link:
        folder = Path(made)
        (folder / "video.mp4").write_bytes(os.urandom(large))
        for number in range(COUNT):
            (folder / f"{number}.jpg").write_bytes(os.urandom(SMALL))
        numbers: list[int] = []
        contestants: dict[str, Contestant] = {
            way: partial(_turn, way, folder, server, link, numbers) for way in (OURS, ALONE)
        }
        taken = take_turns(contestants, arguments.rounds, warm_up=0)
    whole = (large + COUNT * SMALL) / MEGABYTE
    ours = taken[OURS]
    finish(
        Measurement(
            "upload_bytes",
            "What an upload sends and holds in memory",
            [
                table(
                    f"A file of {large / MEGABYTE:,.0f} MB and {COUNT} of {SMALL / 1000:g} kB",
                    taken,
                    OURS,
                    compared=("sent MB", "memory MB"),
                )
            ],
            [
                Target("sent over the files' bytes", _over(ours, "sent MB", whole), 1.01),
                Target("sent by a rerun, MB", interval([t["sent again MB"] for t in ours]), 0.1),
                Target("memory, MB", interval([t["memory MB"] for t in ours]), 64.0),
            ],
            arguments.rounds,
            quick=arguments.quick,
            notes=[
                "Memory is what the process's peak grew by while it put the files; seconds count "
                "the start of Python and of what each imports."
            ],
        ),
        arguments,
    )


def _over(turns: list[Figures], figure: str, whole: float) -> Interval:
    return interval([turn[figure] / whole for turn in turns])


if __name__ == "__main__":
    main()
