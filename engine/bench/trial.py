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
"""Prefix of the names of the trials' work folders."""


@dataclass(frozen=True, slots=True)
class StageShares:
    """How the workers of one stage spent their time, as shares of it, 0 to 1."""

    workers: int
    busy: float
    starved: float
    blocked: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration, run once; or the model's prediction of it, if `simulated`.

    `items` were given; `outcomes` counts the ended items as done, dropped and failed: more than
    `items` if lists produced others. `seconds` are from the first attempt to the end of the last
    item: the time before and after does not depend on the workers. `throughput` is items that ended
    well, done or dropped, per second. Peaks are in bytes, None where they were not measured.
    `problem` is one line on why the trial did not come to its end; then the other figures mean
    nothing.
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
    """The sentence on the bottleneck from the run's report."""
    peak_memory: int | None = None
    peak_disk: int | None = None
    problem: str | None = None
    simulated: bool = False

    @property
    def failed(self) -> int:
        return (self.outcomes or {}).get("failed", 0)

    @property
    def ended(self) -> int:
        """Items that ended, with any outcome."""
        return sum((self.outcomes or {}).values())

    @property
    def pace(self) -> float:
        """Items that ended, with any outcome, per second: the figure that a model predicts."""
        return self.ended / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """The common part of all trials: the pipeline's name, and the sources of its settings beside
    the environment, as for `load_config`."""

    pipeline: str
    config: str | None
    overrides: tuple[str, ...]
    flags: Mapping[str, Any]


@contextmanager
def cold_folder(parent: Path) -> Iterator[Path]:
    """An empty work folder, which is removed at the end of the block."""
    with tempfile.TemporaryDirectory(
        prefix=TRIAL_FOLDER, dir=parent, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def run_trial(
    setup: Setup, configuration: Configuration, sources: Sequence[str], workdir: Path
) -> Trial:
    """Run the pipeline over `sources` in `workdir` in a process of its own, and watch it.

    Raises UsageError for a user's mistake, which would end every configuration. Any other error
    becomes the trial's `problem`. If an exception such as KeyboardInterrupt leaves this function,
    the process and its descendants are killed.
    """
    request = asdict(setup) | {
        "flags": {**setup.flags, **configuration.settings},  # overrides all other settings
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
            with suppress(BrokenPipeError):  # it died at once; its exit code tells
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
    """Measure the process until it has ended."""
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
    """The reason why a process ended without an answer, with the last line that it printed."""
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
