"""The configurations to try: numbers of workers for some of a pipeline's stages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from engine.bench.model.places import Nodes
from engine.config.schema import did_you_mean, section_of
from engine.contract.errors import UsageError
from engine.contract.pipeline import Pipeline

MOST_CONFIGURATIONS = 20_000
"""A larger grid is refused as a slip of the finger."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Numbers of workers for the stages that are tried, in the pipeline's order."""

    pairs: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, **workers: int) -> "Configuration":
        return cls(tuple(workers.items()))

    @property
    def workers(self) -> Mapping[str, int]:
        return dict(self.pairs)

    @property
    def total(self) -> int:
        """The sum of its numbers of workers."""
        return sum(count for _, count in self.pairs)

    @property
    def settings(self) -> dict[str, int]:
        """The settings of this configuration, by dotted name."""
        return {f"{section_of(stage)}.workers": count for stage, count in self.pairs}

    @property
    def toml(self) -> str:
        """The lines of config.toml that set this configuration, ending in a line break."""
        blocks = [f"[{section_of(stage)}]\nworkers = {count}\n" for stage, count in self.pairs]
        return "\n".join(blocks)

    def __str__(self) -> str:
        return " ".join(f"{stage}={count}" for stage, count in self.pairs)


def parse_nodes(count: int | None, text: str) -> Nodes | None:
    """So many nodes of a cluster, each with what a text such as "CPU=8,GPU=1" says; None for none.

    Raises UsageError.
    """
    if count is None:
        if text:
            raise UsageError(f"--node {text}: give --nodes, the number of them, too")
        return None
    each: dict[str, float] = {}
    for pair in filter(None, text.split(",")):
        name, _, many = pair.partition("=")
        try:
            each[name.strip()] = amount = float(many)
        except ValueError:
            amount = math.nan
        if not (name.strip() and 0 <= amount < math.inf):
            raise UsageError(
                f"--node {text}: {pair!r} is no amount of a resource; give it as CPU=8,GPU=1"
            )
    return Nodes(count, each)


def parse_tries(
    texts: Sequence[str], pipeline: Pipeline, placements: Mapping[str, str]
) -> Mapping[str, tuple[int, ...]]:
    """The numbers to try by stage, in the pipeline's order, from texts such as "fetch=1,2,4".
    `placements` are the stages' own.

    Raises UsageError with one line for each invalid text.
    """
    tries: dict[str, tuple[int, ...]] = {}
    problems = []
    for text in texts:
        try:
            stage, numbers = _parse(text, pipeline, placements)
            if stage in tries:
                raise UsageError("the stage is given twice; name all its numbers in one --try")
            tries[stage] = numbers
        except UsageError as problem:
            problems.append(f"--try {text}: {problem}")
    if problems:
        raise UsageError("\n".join(problems))
    if not tries:
        raise UsageError("nothing to try: give --try STAGE=1,2,4, once for each stage to vary")
    count = prod(len(numbers) for numbers in tries.values())
    if count > MOST_CONFIGURATIONS:
        raise UsageError(
            f"--try makes {count:,} configurations, more than {MOST_CONFIGURATIONS:,}; "
            "try fewer numbers"
        )
    return {name: tries[name] for name in pipeline.names if name in tries}


def grid(tries: Mapping[str, Sequence[int]]) -> list[Configuration]:
    """Every combination; the number of the first stage changes slowest."""
    return [
        Configuration(tuple(zip(tries, numbers, strict=True)))
        for numbers in product(*tries.values())
    ]


def _parse(
    text: str, pipeline: Pipeline, placements: Mapping[str, str]
) -> tuple[str, tuple[int, ...]]:
    name, equals, listed = text.partition("=")
    name = name.strip()
    if not equals:
        raise UsageError("write it as STAGE=1,2,4")
    if name not in pipeline.names:
        hint = did_you_mean(name, pipeline.names)
        raise UsageError(f"{pipeline.name} has no stage {name!r}{hint}")
    numbers = sorted({_number(part.strip()) for part in listed.split(",")})
    most = pipeline[name].stage.most_workers(placements[name])
    if most is not None and numbers[-1] > most:
        raise UsageError(f"stage {name!r} can use {most} at most")
    return name, tuple(numbers)


def _number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"{text!r} is no number of workers; give whole numbers over 0: 1,2,4")
    return number
