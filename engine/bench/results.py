"""The results of a sweep, and the files for machines: bench.json and bench.csv."""

import csv
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.bench.configuration import Configuration
from engine.bench.prediction import Comparison, checks
from engine.bench.sweep import Rating, Recommendation, Rung, ratings, recommend
from engine.bench.trial import Trial
from engine.telemetry.cores import available_cores


@dataclass(frozen=True)
class Results:
    """All trials of a sweep, even of an interrupted one.

    `items` is the largest number of items that a configuration got. `measured` are real runs,
    `predicted` those of the model.
    """

    pipeline: str
    command: str
    tries: Mapping[str, Sequence[int]]
    stages: Sequence[str]
    """All stages of the pipeline, in its order."""
    most: Mapping[str, int]
    """The largest number of workers of each stage that has a maximum of its own."""
    items: int
    repeats: int
    plan: Sequence[Rung]
    measured: Sequence[Trial]
    predicted: Sequence[Trial]
    settings: Mapping[str, Any]
    interrupted: bool = False
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())

    @cached_property
    def measured_ratings(self) -> list[Rating]:
        return ratings(self.measured)

    @cached_property
    def predicted_ratings(self) -> list[Rating]:
        return ratings(self.predicted)

    @cached_property
    def recommendation(self) -> Recommendation | None:
        """From measurements; from predictions only if nothing was measured."""
        return recommend(self.measured_ratings or self.predicted_ratings)

    @cached_property
    def recommended(self) -> Configuration | None:
        found = self.recommendation
        return found.chosen.configuration if found is not None else None

    @cached_property
    def checks(self) -> list[Comparison]:
        return checks(self.predicted, self.measured)

    def as_dict(self) -> dict[str, Any]:
        """The results, JSON-able. Throughput is in items per second, sizes
        in bytes, shares are 0 to 1."""
        found = self.recommendation
        return {
            "pipeline": self.pipeline,
            "command": self.command,
            "interrupted": self.interrupted,
            "tries": {stage: list(numbers) for stage, numbers in self.tries.items()},
            "items": self.items,
            "repeats": self.repeats,
            "plan": [asdict(rung) for rung in self.plan],
            "recommended": found
            and {
                "workers": found.chosen.configuration.workers,
                "why": found.why,
                "fastest": found.best.configuration.workers,
                "toml": found.chosen.configuration.toml,
            },
            "measured": [_rating(rating) for rating in self.measured_ratings],
            "predicted": [_rating(rating) for rating in self.predicted_ratings],
            "checks": [
                {
                    "workers": check.configuration.workers,
                    "predicted": check.predicted,
                    "measured": asdict(check.measured),
                    "error": check.error,
                }
                for check in self.checks
            ],
            "trials": [_trial(trial) for trial in [*self.measured, *self.predicted]],
            "settings": self.settings,
            "machine": self.machine,
        }

    def write_json(self, path: Path) -> None:
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def write_csv(self, path: Path) -> None:
        """One row a trial, in the order in which they ended."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self._row(None)))
            writer.writeheader()
            writer.writerows(self._row(trial) for trial in [*self.measured, *self.predicted])

    def _row(self, trial: Trial | None) -> dict[str, Any]:
        """The columns, with their values if there is a trial."""
        trial = trial or Trial(Configuration(()), 0)
        outcomes, shares = trial.outcomes or {}, trial.stages or {}
        row: dict[str, Any] = {"kind": "predicted" if trial.simulated else "measured"}
        row |= {f"{stage} workers": trial.configuration.workers.get(stage) for stage in self.tries}
        row |= {
            "items": trial.items,
            "seconds": trial.seconds,
            "items per second": trial.throughput,
            "bottleneck": trial.bottleneck,
            "peak memory bytes": trial.peak_memory,
            "peak disk bytes": trial.peak_disk,
        }
        row |= {how: outcomes.get(how) for how in ("done", "dropped", "failed")}
        for stage in self.stages:
            for what in ("busy", "starved", "blocked"):
                row[f"{stage} {what}"] = getattr(shares.get(stage), what, None)
        return row | {"problem": trial.problem}


def machine() -> dict[str, Any]:
    """The machine of the trials."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": available_cores(),
        "memory": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "penstock": metadata.version("penstock"),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    found = asdict(trial) | {"workers": trial.configuration.workers}
    del found["configuration"]
    return found


def _rating(rating: Rating) -> dict[str, Any]:
    typical = rating.typical
    return {
        "workers": rating.configuration.workers,
        "items": rating.items,
        "trials": len(rating.trials),
        "throughput": asdict(rating.throughput),
        "stages": {name: asdict(shares) for name, shares in (typical.stages or {}).items()},
        "bottleneck": typical.bottleneck,
        "sentence": typical.sentence,
        "peak_memory": rating.peak_memory,
        "peak_disk": rating.peak_disk,
        "failed": rating.failed,
        "problem": rating.problem,
    }
