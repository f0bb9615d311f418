"""What a stage's outputs are made from beside settings and inputs: asked before a run, and kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio import to_thread

from engine.config.load import Config
from engine.contract.errors import PenstockError, PipelineError
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage
from engine.ledger.group_commit import GroupCommit
from engine.ledger.ingredients_table import EarlierIngredients
from engine.workers.base import StageFactory, StageOpenError


@dataclass(frozen=True, slots=True)
class Ingredients:
    """A step's answer in this run, and the part of it that its fingerprints hold: none where it is
    what the outputs of a release that did not ask count as made from."""

    found: Mapping[str, Any]
    in_fingerprint: Mapping[str, Any]


async def find_ingredients(
    pipeline: Pipeline, config: Config, workdir: Path, commit: GroupCommit
) -> Mapping[str, Ingredients]:
    """The answer of each step whose stage has one to give, by name, recorded in the ledger.

    Raises what the stages raise, StageOpenError for a bug in one.
    """
    found = {}
    for name in pipeline.names:
        stage = pipeline[name].stage
        if stage.find_ingredients is not Stage.find_ingredients:
            factory = StageFactory(stage, config.stages[name].settings, workdir, name)
            found[name] = await _ask(factory, commit)
    return found


async def _ask(factory: StageFactory, commit: GroupCommit) -> Ingredients:
    name = factory.name
    earlier = await commit.do(lambda ledger: ledger.ingredients.earlier(name))
    unrecorded = earlier.latest is not None and not earlier.latest
    known = factory.stage.unrecorded if unrecorded else earlier.latest
    answer = await to_thread.run_sync(_answer, factory, known)
    now = replace(earlier, latest=answer)
    if answer and unrecorded:
        now = EarlierIngredients(answer, taken_up=answer | dict(factory.stage.unrecorded))
    if answer:
        await commit.do(lambda ledger: ledger.ingredients.record(name, now))
    return Ingredients(answer, {} if answer == now.taken_up else answer)


def _answer(factory: StageFactory, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """The stage's answer, as it will be read from the ledger. Blocks."""
    try:
        answer = factory().find_ingredients(earlier)
    except PenstockError:
        raise
    except Exception as error:
        raise StageOpenError(factory.name, error) from error
    try:
        read: dict[str, Any] = json.loads(json.dumps(dict(answer)))
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"stage {factory.name!r}: its find_ingredients() answers what is no JSON ({error})"
        ) from error
    return read
