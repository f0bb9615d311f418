"""A pipeline with its settings, in the form that journeys need: successors and fingerprints."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from engine.contract.job import NO_PARAMETERS, Parameters
from engine.contract.pipeline import Pipeline


class Graph:
    """A pipeline with its settings, in the form that journeys need: successors and fingerprints."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprints: Mapping[str, object],
        optional: frozenset[str] = frozenset(),
        discarding: frozenset[str] = frozenset(),
        rereading: frozenset[str] = frozenset(),
    ) -> None:
        """`fingerprints` gives, for each stage, the JSON-able settings that shape its output;
        `optional`, `discarding` and `rereading` name the stages with `optional = true`,
        `keep = false` and `reread = true`."""
        self.names = pipeline.names
        self.roots = [name for name in self.names if name in pipeline.roots]
        self.predecessors = {name: pipeline.predecessors(name) for name in self.names}
        self.reads = {name: pipeline.reads(name) for name in self.names}
        """The stages whose outputs each stage reads: its predecessors, then others before those."""
        self.readers = {
            name: [other for other in self.names if name in self.reads[other]]
            for name in self.names
        }
        self.successors = {
            name: [after for after in self.names if after in pipeline.successors(name)]
            for name in self.names
        }
        self.optional = optional
        self.deciding = frozenset(self.names) - optional
        """The stages whose failure fails the item."""
        self.discarding = [name for name in self.names if name in discarding]
        self.rereading = rereading
        self._recipes = {
            name: [name, pipeline[name].stage.version, fingerprints.get(name)]
            for name in self.names
        }
        self._fingerprints: dict[tuple[str, tuple[str | None, ...]], str] = {}
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
        parameters: without parameters there are few fingerprints, and each is computed once.
        """
        if parameters:
            return self._fingerprint(stage, upstream, parameters.text)
        key = (stage, upstream)
        found = self._fingerprints.get(key)
        if found is None:
            found = self._fingerprints[key] = self._fingerprint(stage, upstream)
        return found

    def _fingerprint(self, stage: str, upstream: tuple[str | None, ...], *more: str) -> str:
        before = sorted(zip(self.reads[stage], upstream, strict=True))
        text = json.dumps([self._recipes[stage], before, *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def descendants(self, stage: str) -> Sequence[str]:
        """Every stage after `stage`, however far down, in topological order."""
        return self._descendants[stage]

    def _after(self, stage: str) -> list[str]:
        found = {stage}
        for name in self.names:
            if found.intersection(self.predecessors[name]):
                found.add(name)
        return [name for name in self.names if name in found and name != stage]
