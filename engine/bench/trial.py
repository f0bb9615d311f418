"""One trial: a run of the pipeline with one configuration, in a process and a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from engine.bench.configuration import Configuration
from engine.bench.high_water import HighWater, family
from engine.contract.errors import UsageError
from engine.telemetry.text import one_line

TRIAL_FOLDER = ".trial-"
"""What the names of work folders of trials begin with."""


@dataclass(frozen=True, slots=True)
class StageShares:
    """What the workers of one stage did with their time, as shares of it, 0 to 1."""

    workers: int
    busy: float
    starved: float
    blocked: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration, run once; or what the model says of it, if it is `simulated`.

    `items` were given; `outcomes` says how many ended done, dropped and failed, which are more
    where lists held others. `seconds` are from the first attempt to the end of the last item: what
    comes before and after does not depend on the workers. `throughput` is items that ended well,
    done or dropped, per second. Peaks are in bytes, None where nobody looked. `problem` is one line
    on why it did not come to its end; then the other figures say nothing.
    """

    configuration: Configuration
    items: int
    seconds: float = 0.0
    throughput: float = 0.0
    outcomes: Mapping[str, int] | None = None
    stages: Mapping[str, StageShares] | None = None
    bottleneck: str | None = None
    """The busiest stage."""
    sentence: str | None = None
    """What the run's report says of the bottleneck."""
    peak_memory: int | None = None
    peak_disk: int | None = None
    problem: str | None = None
    simulated: bool = False

    @property
    def failed(self) -> int:
        return (self.outcomes or {}).get("failed", 0)

    @property
    def ended(self) -> int:
        """Items that ended, however they did."""
        return sum((self.outcomes or {}).values())

    @property
    def pace(self) -> float:
        """Items that ended, however they did, per second: what a model predicts."""
        return self.ended / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trials have in common: the pipeline's name, and where its settings come from beside
    the environment, as `load_config` takes them."""

    pipeline: str
    config: str | None
    overrides: tuple[str, ...]
    flags: Mapping[str, Any]


@contextmanager
def cold_folder(parent: Path) -> Iterator[Path]:
    """An empty work folder, which is gone when the block has ended."""
    with tempfile.TemporaryDirectory(
        prefix=TRIAL_FOLDER, dir=parent, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def run_trial(
    setup: Setup, configuration: Configuration, sources: Sequence[str], workdir: Path
) -> Trial:
    """Run the pipeline over `sources` in `workdir` in a process of its own, and watch it.

    Raises UsageError for a person's mistake, with which every configuration would end. Whatever
    else goes wrong is the trial's `problem`. When this is left by an exception, KeyboardInterrupt
    for one, the process and all that it started are killed.
    """
    request = asdict(setup) | {
        "flags": {**setup.flags, **configuration.settings},  # before all that is set elsewhere
        "sources": list(sources),
        "workdir": str(workdir),
    }
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.bench.trial_process"],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=said,
            start_new_session=True,  # Ctrl-C on the terminal is for us
        )
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it died at once, and its exit code says so
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            water = _watch(process, workdir)
        except BaseException:
            _kill(process)
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
        found = _answer(process.returncode, answer, said)
    if "problem" in found:
        return Trial(configuration, len(sources), problem=found["problem"])
    return Trial(
        configuration,
        len(sources),
        seconds=found["seconds"],
        throughput=_per_second(found["outcomes"], found["seconds"]),
        outcomes=found["outcomes"],
        stages={name: StageShares(**shares) for name, shares in found["stages"].items()},
        bottleneck=found["bottleneck"],
        sentence=found["sentence"],
        peak_memory=water.memory,
        peak_disk=water.disk,
    )


def _watch(process: subprocess.Popen[bytes], workdir: Path) -> HighWater:
    """Look at the process until it has ended."""
    water = HighWater(process.pid, workdir)
    while True:
        try:
            process.wait(water.pause)
        except subprocess.TimeoutExpired:
            water.look()
        else:
            water.look_at_the_end()
            return water


def _kill(process: subprocess.Popen[bytes]) -> None:
    for one in family(process.pid):
        with suppress(psutil.Error):
            one.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answer(code: int, answer: IO[bytes], said: IO[bytes]) -> dict[str, Any]:
    answer.seek(0)
    text = answer.read()
    if code != 0 or not text:
        return {"problem": _obituary(code, said)}
    found: dict[str, Any] = json.loads(text)
    if "mistake" in found:
        raise UsageError(found["mistake"])
    return found


def _obituary(code: int, said: IO[bytes]) -> str:
    """Why a process that left no answer has ended, with the last line that it printed."""
    if code < 0:
        hint = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-code).name}{hint}"
    said.seek(0)
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    last = f": {one_line(lines[-1])}" if lines else ""
    return f"its process ended with code {code}{last}"


def _per_second(outcomes: Mapping[str, int], seconds: float) -> float:
    well = outcomes["done"] + outcomes["dropped"]
    return well / seconds if seconds > 0 else 0.0
