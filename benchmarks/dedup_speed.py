"""Seconds to find all near-duplicates among 64-bit hashes, against brute force and faiss.

    python benchmarks/dedup_speed.py                        # 100,000 hashes within 8 bits
    python benchmarks/dedup_speed.py --count 1000000 --repeats 3 --only penstock
    python benchmarks/dedup_speed.py --json dedup_speed.json

Three searches find the same pairs, in turn in the same run: Penstock's, NumPy comparing each hash
with all that follow it, and faiss's exact IndexBinaryFlat with all its threads, where faiss is
installed. Their counts of pairs are checked against one another. The hashes are random, or walk as
those of video do: scenes of frames that differ a little from the one before, distinct here because
equal ones only make more pairs. Then the whole choice of frames to keep is timed, equal hashes and
all, on the same hashes and on crowds: half of the frames black, and half from one still camera.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.hamming import pairs_within
from stages.neardup import Frames, choose

Hashes = NDArray[np.uint64]
SCENE = 25
"""Frames of a scene: at one frame a second, 25 seconds."""


def random_hashes(count: int, seed: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


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
    starts = random_hashes(scenes, seed)
    walks = np.bitwise_xor.accumulate(steps.reshape(scenes, SCENE), axis=1) ^ starts[:, np.newaxis]
    return walks.reshape(-1)[:count]


def crowd(count: int, bits: int, seed: int) -> Hashes:
    """Half random; the other half one hash, with up to `bits` bits turned over."""
    one = np.full(count - count // 2, random_hashes(1, seed)[0])
    return np.concatenate([random_hashes(count // 2, seed), flip_bits(one, bits, seed)])


def brute_force(hashes: Hashes, distance: int) -> int:
    return sum(
        int(np.count_nonzero(np.bitwise_count(hashes[at + 1 :] ^ hashes[at]) <= distance))
        for at in range(len(hashes))
    )


def faiss_search() -> Callable[[Hashes, int], int] | None:
    try:
        import faiss
    except ImportError:
        return None

    def search(hashes: Hashes, distance: int) -> int:
        rows = hashes.view(np.uint8).reshape(-1, 8)
        index = faiss.IndexBinaryFlat(64)
        index.add(rows)
        # Its radius is exclusive, and it finds each pair twice and every hash itself.
        limits, _, _ = index.range_search(rows, distance + 1)
        return (int(limits[-1]) - len(hashes)) // 2

    return search


def searches(only: str | None) -> dict[str, Callable[[Hashes, int], int]]:
    found: dict[str, Callable[[Hashes, int], int] | None] = {
        "penstock": lambda hashes, distance: len(pairs_within(hashes, distance)[0]),
        "brute force": brute_force,
        "faiss": faiss_search(),
    }
    return {
        name: search
        for name, search in found.items()
        if search is not None and only in (None, name)
    }


def as_frames(hashes: Hashes, seed: int) -> Frames:
    """Frames of these hashes, a hundred to a video, of mixed quality."""
    random = np.random.default_rng(seed)
    at = np.arange(len(hashes))
    return Frames(
        hashes=hashes,
        pixels=random.choice([640 * 360, 640 * 480], len(hashes)),
        sharpness=random.random(len(hashes)).round(3),
        timestamps=(at % 100).astype(np.float64),
        videos=at // 100,
        files=at % 100,
    )


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def measure_searches(
    sets: dict[str, Hashes], distance: int, repeats: int, only: str | None
) -> list[dict[str, Any]]:
    figures = []
    for name, hashes in sets.items():
        distinct = np.unique(hashes)
        np.random.default_rng(0).shuffle(distinct)
        seconds: dict[str, list[float]] = {search: [] for search in searches(only)}
        pairs = set()
        for _ in range(repeats):
            for search, run in searches(only).items():
                spent, found = timed(run, distinct, distance)
                seconds[search].append(spent)
                pairs.add(found)
        if len(pairs) != 1:
            raise SystemExit(f"the searches disagree on {name} hashes: {sorted(pairs)} pairs")
        figures.append(
            {"hashes": name, "count": len(distinct), "pairs": pairs.pop(), "seconds": seconds}
        )
    return figures


def measure_choice(sets: dict[str, Hashes], distance: int, repeats: int) -> list[dict[str, Any]]:
    figures = []
    for name, hashes in sets.items():
        frames = as_frames(hashes, 0)
        runs = [timed(choose, frames, distance) for _ in range(repeats)]
        figures.append(
            {
                "hashes": name,
                "count": len(hashes),
                "kept": int(np.count_nonzero(runs[0][1].kept)),
                "seconds": [spent for spent, _ in runs],
            }
        )
    return figures


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):7.2f} s [{min(seconds):.2f}-{max(seconds):.2f}]"


def show(result: dict[str, Any]) -> None:
    print(f"all pairs within {result['distance']} bits: median of {result['repeats']} [range]")
    for figure in result["searches"]:
        print(f"{figure['count']:,} {figure['hashes']} hashes, {figure['pairs']:,} pairs")
        first = next(iter(figure["seconds"].values()))
        for name, seconds in figure["seconds"].items():
            ratios = [own / ours for own, ours in zip(seconds, first, strict=True)]
            print(f"  {name:12} {spread(seconds)}  {statistics.median(ratios):6.1f} times")
    print("the choice of frames to keep")
    for figure in result["choices"]:
        told = f"{figure['count']:,} {figure['hashes']}, {figure['kept']:,} kept"
        print(f"  {told:48} {spread(figure['seconds'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--distance", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("penstock", "brute force", "faiss"))
    parser.add_argument("--quick", action="store_true", help="few hashes, once; not to quote")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    count, repeats = (10_000, 1) if arguments.quick else (arguments.count, arguments.repeats)

    sets = {"random": random_hashes(count, 1), "video": video_hashes(count, 2)}
    crowds = {"half black": crowd(count, 0, 3), "half one still camera": crowd(count, 5, 4)}
    result = {
        "distance": arguments.distance,
        "repeats": repeats,
        "quick": arguments.quick,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "searches": measure_searches(sets, arguments.distance, repeats, arguments.only),
        "choices": measure_choice(sets | crowds, arguments.distance, repeats),
    }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
