"""A pipeline with its settings, in the form that journeys need: successors and fingerprints."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.contract.job import NO_PARAMETERS, Parameters
from engine.contract.pipeline import Pipeline

HasExpired = Callable[[Path], bool]
"""Whether a finished output is of no use any more: `Stage.has_expired`."""

NONE_EXPIRE: Mapping[str, HasExpired] = {}

MOST_REMEMBERED = 10_000
"""The most fingerprints that are kept for further items."""


class Graph:
    """A pipeline with its settings, in the form that journeys need: successors and fingerprints."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprints: Mapping[str, object],
        optional: frozenset[str] = frozenset(),
        discarding: frozenset[str] = frozenset(),
        rereading: frozenset[str] = frozenset(),
        expiring: Mapping[str, HasExpired] = NONE_EXPIRE,
        off: frozenset[str] = frozenset(),
    ) -> None:
        """`fingerprints` gives, for each stage, the JSON-able settings that shape its output;
        `optional`, `discarding` and `rereading` name the stages with `optional = true`,
        `keep = false` and `reread = true`; `expiring` are those whose outputs may expire. `off` are
        steps at whole items that the pipeline is without in this run: what earlier ones have made
        there goes."""
        self.names = pipeline.names
        self.roots = [name for name in self.names if name in pipeline.roots]
        self.predecessors = {name: pipeline.predecessors(name) for name in self.names}
        self.reads = {name: pipeline.reads(name) for name in self.names}
        """The stages whose outputs each stage reads: its predecessors, then others before those."""
        self.readers = {
            name: [other for other in self.names if name in self.reads[other]]
            for name in self.names
        }
        self.results = {
            name
            for name, readers in self.readers.items()
            if all(pipeline[reader].stage.keeps_inputs for reader in readers)
        }
        """The stages whose outputs are results, which nothing that is made of them stands for."""
        self.successors = {
            name: [after for after in self.names if after in pipeline.successors(name)]
            for name in self.names
        }
        self.optional = optional
        self.deciding = frozenset(self.names) - optional
        """The stages whose failure fails the item."""
        self.discarding = [name for name in self.names if name in discarding]
        self.rereading = rereading
        self.expiring = expiring
        self.off = off
        self.level = {step.name: step.each for step in pipeline.steps}
        """The splitting step at whose parts each step stands; "" for whole items."""
        self.path = {name: pipeline.level(name) for name in self.names}
        """The splitting steps that each step's level lies below, from the outermost on."""
        splitting = [name for name in self.names if pipeline[name].stage.splits()]
        self.home = {
            level: [name for name in self.names if self.level[name] == level]
            for level in ("", *splitting)
        }
        """The steps of each level, in topological order."""
        self.splits = {
            level: [name for name in splitting if self.level[name] == level] for level in self.home
        }
        """The splitting steps of each level."""
        self.below = {
            level: frozenset(n for n in self.names if not level or level in pipeline.level(n))
            for level in self.home
        }
        """The steps of each level and of the levels below it."""
        self._recipes = {
            name: [name, pipeline[name].stage.version, fingerprints.get(name)]
            for name in self.names
        }
        self._fingerprints: dict[tuple[str, tuple[str | None, ...]], str] = {}
        self._in_short = {name: self._shortened(name) for name in splitting}
        self._descendants = {name: self._after(name) for name in self.names}

    def fingerprint(
        self,
        stage: str,
        upstream: tuple[str | None, ...],
        parameters: Parameters = NO_PARAMETERS,
    ) -> str:
        """The fingerprint of an output of `stage`, made from an item with these parameters and from
        outputs with these fingerprints, in the order of `reads`.

        Outputs from further up are included too: a predecessor's fingerprint covers the outputs
        before it, but an optional predecessor may be absent.

        None stands for an absent output of an optional stage. The item contributes only its
        parameters: without parameters, and above the parts, there are few fingerprints, and each is
        computed once.
        """
        if parameters:
            return self._fingerprint(stage, upstream, parameters.text)
        key = (stage, upstream)
        found = self._fingerprints.get(key)
        if found is None:
            if len(self._fingerprints) >= MOST_REMEMBERED:
                self._fingerprints.clear()  # those of parts, and after them, are all different
            found = self._fingerprints[key] = self._fingerprint(stage, upstream)
        return found

    def _fingerprint(self, stage: str, upstream: tuple[str | None, ...], *more: str) -> str:
        before = sorted(zip(self.reads[stage], upstream, strict=True))
        text = json.dumps([self._recipes[stage], before, *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @staticmethod
    def part_fingerprint(made: str, content: str) -> str:
        """The fingerprint of a part with this content, of an output with the fingerprint `made`.

        The steps that read the part go by its content alone: one that comes out the same of another
        script, or of other settings, is the same to them.
        """
        return f"{content}:part:{hashlib.sha256(made.encode()).hexdigest()[:32]}"

    def below_in_short(self, stage: str) -> str:
        """A hash of the settings of all steps below the parts that `stage` splits, and of all that
        these come from. Where no step gathers what they make, nothing else tells the item above of
        a change there. Empty if there are none."""
        return self._in_short.get(stage, "")

    def _shortened(self, splitting: str) -> str:
        if not self.below[splitting]:
            return ""
        before = set(self.below[splitting])
        for name in reversed(self.names):
            if name in before:
                before.update(self.reads[name])
        recipes = [self._recipes[name] for name in self.names if name in before]
        text = json.dumps(recipes, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def discarded_for(self, stage: str) -> list[str]:
        """The stages with `keep = false` whose outputs `stage` reads."""
        return [name for name in self.reads[stage] if name in self.discarding]

    def gatherers(self, stage: str) -> list[str]:
        """The steps that gather what `stage`, which stands at parts, makes of them."""
        above = self.level[self.level[stage]] if self.level[stage] else None
        return [name for name in self.readers[stage] if self.level[name] == above]

    def descendants(self, stage: str) -> Sequence[str]:
        """Every stage after `stage`, however far down, in topological order."""
        return self._descendants[stage]

    def _after(self, stage: str) -> list[str]:
        found = {stage}
        for name in self.names:
            if found.intersection(self.predecessors[name]):
                found.add(name)
        return [name for name in self.names if name in found and name != stage]


def base_of(fingerprint: str) -> str:
    """The part of a fingerprint from `Ends.whole_end` that tells nothing of the parts."""
    return fingerprint.partition(":")[0]


def as_read(fingerprint: str) -> str:
    """The part of a fingerprint that goes into those of the steps that read the output: not that
    of `Ends.whole_end` about what is made below, nor that of a part about what it is a part of."""
    return ":".join(fingerprint.split(":")[:2])
