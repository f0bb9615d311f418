"""The words of a pipeline's counts: which stages count whole items, and which count parts."""

from collections.abc import Collection
from dataclasses import dataclass

from engine.contract.pipeline import Pipeline

PART = "part"


@dataclass(frozen=True, slots=True)
class Levels:
    """`unit` is the word for one whole item; the stages `at_parts` count parts."""

    unit: str = "item"
    at_parts: Collection[str] = ()

    @classmethod
    def of(cls, pipeline: Pipeline) -> "Levels":
        return cls(pipeline.unit, frozenset(step.name for step in pipeline.steps if step.each))

    def named(self, stage: str, room: int | None = None) -> str:
        """The stage's name, for a table of counts, where it has to say that it counts parts, as far
        as so many characters have room for that; None: any number has."""
        whole = f"{stage} (parts)" if stage in self.at_parts else stage
        return whole if room is None or len(whole) <= room else stage


WHOLE_ITEMS = Levels()
"""Those of a pipeline whose stages all count items."""
