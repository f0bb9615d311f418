"""All near-duplicates among hashes, exactly, against faiss; memory, growth, crowds, and additions.

    python -m benchmarks.dedup_speed
    python -m benchmarks.dedup_speed --sizes 5000000     # Penstock alone, and its memory

Penstock and faiss's exact IndexBinaryFlat, both with all their threads, find all pairs of random
64-bit hashes within 8 bits; what they find is compared. Each turn is a process of its own, so that
its peak of memory is its own too. The time of faiss is proportional to its queries, each of which
is compared with every hash: at a million a few thousand of them are measured, against all hashes,
and their time is scaled to all. Penstock's time is always that of all.

Then ten thousand hashes are looked for among a million known ones, with nothing prepared; single
frames among as many described ones, as reuse does; and the frames to keep are chosen, among random
hashes, those of video (scenes that change a little from frame to frame) and crowds.
"""

import json
import math
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import (
    Contestant,
    Figures,
    finish,
    parse,
    parser,
    ratios,
    table,
    take_turns,
    timed,
)
from benchmarks.machine import peak_memory
from benchmarks.results import Measurement, Row, Table, Target
from engine.bench.intervals import interval
from stages.neardup.duplicates import Frames, choose
from stages.neardup.hamming import nearest_within, pairs_within, within

Hashes = NDArray[np.uint64]

DISTANCE = 8
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (10_000, 50_000)
KNOWN, ADDED, LOOKUPS = 1_000_000, 10_000, 100
CHOSEN = 100_000
MOST_FOR_FAISS = 1_000_000
FAISS_QUERIES = 10_000
"""Queries of faiss that are measured where there are more than a hundred thousand hashes."""

SCENE = 25
"""Frames of a scene: at one frame a second, 25 seconds."""

OWN, FAISS = "Penstock", "faiss IndexBinaryFlat"


def random_hashes(count: int, seed: int) -> Hashes:
    """Distinct and in no order."""
    random = np.random.default_rng(seed)
    found = np.unique(random.integers(0, 2**64, count, dtype=np.uint64))
    random.shuffle(found)
    return found


def with_neighbours(count: int, seed: int) -> Hashes:
    """Random hashes, of which a hundredth is within the distance of another: pairs to be found."""
    found = random_hashes(count, seed)
    some = count // 100
    found[:some] = flip_bits(found[some : 2 * some], DISTANCE, seed)
    return found


def flip_bits(hashes: Hashes, bits: int, seed: int) -> Hashes:
    """Each hash with up to `bits` of its bits turned over."""
    random = np.random.default_rng(seed)
    flipped = hashes.copy()
    for _ in range(bits):
        flipped ^= np.uint64(1) << random.integers(0, 64, len(hashes), dtype=np.uint64)
    return flipped


def video_hashes(count: int, seed: int) -> Hashes:
    """Scenes in which each frame differs from the one before in up to two bits, a third in none."""
    scenes = -(-count // SCENE)
    steps = flip_bits(np.zeros(scenes * SCENE, np.uint64), 2, seed)
    steps[np.random.default_rng(seed).random(len(steps)) < 1 / 3] = 0
    starts = np.random.default_rng(seed + 1).integers(0, 2**64, scenes, dtype=np.uint64)
    walks = np.bitwise_xor.accumulate(steps.reshape(scenes, SCENE), axis=1) ^ starts[:, np.newaxis]
    return walks.reshape(-1)[:count]


def crowd(count: int, bits: int, seed: int) -> Hashes:
    """Half random; the other half one hash, with up to `bits` bits turned over."""
    one = np.full(count - count // 2, np.uint64(0x0123_4567_89AB_CDEF))
    return np.concatenate([random_hashes(count // 2, seed), flip_bits(one, bits, seed)])


def as_frames(hashes: Hashes) -> Frames:
    """Frames of these hashes, a hundred to a video, of mixed quality."""
    random = np.random.default_rng(0)
    at = np.arange(len(hashes))
    return Frames(
        hashes=hashes,
        pixels=random.choice([640 * 360, 640 * 480], len(hashes)),
        colour=random.integers(0, 2, len(hashes)),
        clarity=random.integers(-8, 2, len(hashes)),
        painted=random.integers(0, 4, len(hashes)),
        timestamps=(at % 100).astype(np.float64),
        videos=at // 100,
        files=at % 100,
    )


def own_pairs(hashes: Hashes) -> tuple[float, int]:
    """Seconds for all pairs, and how many hits the first of the hashes have: see `faiss_pairs`."""
    start = time.perf_counter()
    i, j, _ = pairs_within(hashes, DISTANCE)
    seconds = time.perf_counter() - start
    queries = _queries(len(hashes))
    return seconds, int(np.count_nonzero(i < queries) + np.count_nonzero(j < queries))


def faiss_pairs(hashes: Hashes) -> tuple[float, int]:
    """Seconds for all hashes, and how many hits those have that are queried."""
    import faiss

    rows = hashes.view(np.uint8).reshape(-1, 8)
    queries = _queries(len(hashes))
    index = faiss.IndexBinaryFlat(64)
    start = time.perf_counter()
    index.add(rows)
    limits, _, _ = index.range_search(rows[:queries], DISTANCE + 1)  # its radius is exclusive
    seconds = (time.perf_counter() - start) * len(hashes) / queries
    return seconds, int(limits[-1]) - queries  # each finds itself


def _queries(count: int) -> int:
    return count if count <= 100_000 else FAISS_QUERIES


def contestant(name: str, size: int, hits: dict[int, set[int]]) -> Contestant:
    """A process that searches once; its hits go into `hits`, by the size."""

    def turn() -> Figures:
        command = [sys.executable, "-m", "benchmarks.dedup_speed", "--one", name]
        told = subprocess.run(
            [*command, "--sizes", str(size)], check=True, stdout=subprocess.PIPE, text=True
        )
        figures: dict[str, float] = json.loads(told.stdout)
        hits.setdefault(size, set()).add(int(figures.pop("hits")))
        return figures

    return turn


def run_one(name: str, size: int) -> None:
    """What a process of `contestant` does."""
    search = own_pairs if name == OWN else faiss_pairs
    seconds, hits = search(with_neighbours(size, 1))
    print(json.dumps({"wall s": seconds, "peak memory MB": peak_memory(), "hits": hits}))


def measure_pairs(
    size: int, rounds: int, notes: list[str]
) -> tuple[Table, dict[str, list[Figures]]]:
    """All pairs of so many hashes. Raises SystemExit where the contestants disagree."""
    names = [OWN]
    if size <= MOST_FOR_FAISS:
        if find_spec("faiss") is not None:
            names.append(FAISS)
        else:
            notes.append("faiss is not installed, so it is left out.")
    hits: dict[int, set[int]] = {}
    taken = take_turns({name: contestant(name, size, hits) for name in names}, rounds, warm_up=0)
    if len(hits[size]) != 1:
        raise SystemExit(f"the searches of {size:,} hashes disagree: {sorted(hits[size])} hits")
    if FAISS in names:
        asked = _queries(size)
        notes.append(
            f"{size:,} hashes: both find the same {hits[size].pop():,} hits of {asked:,} hashes"
            + (f"; faiss's time is that of {asked:,} queries, scaled." if asked < size else ".")
        )
    return table(f"all pairs within {DISTANCE} bits, {size:,} random hashes", taken, OWN), taken


def growth(seconds: dict[int, float]) -> float:
    """The exponent of the number of hashes by which the time grows between first and last size."""
    first, last = min(seconds), max(seconds)
    return math.log(seconds[last] / seconds[first]) / math.log(last / first)


def measure_additions(known: int, added: int, rounds: int) -> tuple[Table, Target]:
    """A few hashes among many: together, and one at a time."""
    many, few = random_hashes(known, 2), random_hashes(added, 3)

    def add() -> None:
        nearest_within(few, many, DISTANCE)
        pairs_within(few, DISTANCE)
        np.concatenate([many, few])

    turns = take_turns({"add": timed(add)}, rounds)["add"]
    single = take_turns({"look up": partial(_look_up, many, few[:LOOKUPS])}, rounds)["look up"]
    title = f"{added:,} hashes among {known:,} known ones, with nothing prepared"
    rows = [
        Row("Penstock, all at once", {"wall s": interval([turn["wall s"] for turn in turns])}),
        Row(
            "Penstock, one frame, as reuse of descriptions asks",
            {"wall ms": interval([turn["wall ms"] for turn in single])},
        ),
    ]
    what = f"seconds to add {added:,} hashes to {known:,}"
    return Table(title, rows), Target(what, rows[0].figures["wall s"], 1.0)


def _look_up(many: Hashes, few: Hashes) -> Figures:
    start = time.perf_counter()
    for value in few.tolist():
        within(value, many, DISTANCE)
    return {"wall ms": (time.perf_counter() - start) * 1000 / len(few)}


def measure_choices(count: int, rounds: int) -> Table:
    """The choice of the frames to keep, equal hashes and all."""
    sets: dict[str, Hashes] = {
        "random": random_hashes(count, 4),
        "video": video_hashes(count, 5),
        "half of them black": crowd(count, 0, 6),
        "half of one still camera": crowd(count, 5, 7),
    }
    work: dict[str, Callable[[], object]] = {
        f"Penstock, {name}": partial(choose, as_frames(hashes), DISTANCE)
        for name, hashes in sets.items()
    }
    taken = take_turns({name: timed(run) for name, run in work.items()}, rounds, warm_up=0)
    rows = [
        Row(name, {"wall s": interval([turn["wall s"] for turn in turns])})
        for name, turns in taken.items()
    ]
    return Table(f"the choice of the frames to keep, of {count:,}", rows)


def targets(size: int, taken: dict[str, list[Figures]]) -> list[Target]:
    """What was aimed at for a million hashes."""
    found = []
    memory = interval([turn["peak memory MB"] for turn in taken[OWN]])
    found.append(Target(f"peak memory MB of a process, {size:,} hashes", memory, 1000))
    if FAISS in taken:
        share = ratios(taken[OWN], taken[FAISS], "wall s")
        found.append(Target(f"time over faiss's, {size:,} hashes", share, 0.1))
    return found


def measure(arguments: Namespace) -> Measurement:
    quick, rounds = arguments.quick, arguments.rounds
    sizes = arguments.sizes or (QUICK_SIZES if quick else SIZES)
    notes: list[str] = []
    tables: list[Table] = []
    aims: list[Target] = []
    seconds: dict[int, float] = {}
    for size in sizes:
        found, taken = measure_pairs(size, rounds, notes)
        tables.append(found)
        seconds[size] = interval([turn["wall s"] for turn in taken[OWN]]).median
        if size >= MOST_FOR_FAISS:
            aims += targets(size, taken)
    if len(seconds) > 1:
        notes.append(
            f"From {min(seconds):,} to {max(seconds):,} hashes, Penstock's time grows with the "
            f"number to the power of {growth(seconds):.2f}; comparing all has 2."
        )
    if not arguments.sizes:
        known = KNOWN // 10 if quick else KNOWN
        added, aim = measure_additions(known, ADDED, rounds)
        tables += [added, measure_choices(CHOSEN // 10 if quick else CHOSEN, rounds)]
        aims.append(aim)
    notes = list(dict.fromkeys(notes))
    return Measurement(
        "dedup_speed", "Near-duplicates", tables, aims, rounds=rounds, quick=quick, notes=notes
    )


def _parser() -> ArgumentParser:
    made = parser(__doc__, rounds=5)
    made.add_argument("--sizes", type=int, nargs="+", metavar="N", help="all pairs of N hashes")
    made.add_argument("--one", choices=(OWN, FAISS), help="search once, for one turn")
    return made


def main() -> None:
    arguments = parse(_parser())
    if arguments.one:
        run_one(arguments.one, arguments.sizes[0])
    else:
        finish(measure(arguments), arguments)


if __name__ == "__main__":
    main()
