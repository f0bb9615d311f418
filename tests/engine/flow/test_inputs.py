"""What a step reads: roles bound to steps, outputs kept for whoever reads them, one class twice."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import (
    SOURCE,
    ConfigError,
    Ending,
    Item,
    MissingOutput,
    PenstockError,
    Permanent,
    Pipeline,
    PipelineError,
    Stage,
    Step,
    setting,
)
from engine import Settings as EngineSettings
from engine.config.load import fingerprint_settings, load_config
from engine.config.template import render_config
from engine.contract.item import item_id
from engine.flow.journey.graph import Graph
from engine.ledger.outputs.folders import commit_output, open_scratch
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from tests.engine.toy_parts import at, cut
from tests.engine.toys import (
    Does,
    Toy,
    configured,
    executions,
    leftovers,
    line,
    note,
    outcomes,
    read_value,
    run,
    toy,
    tree,
)


class Reads(Toy):
    """Reads one thing."""

    inputs: ClassVar[str | Sequence[str]] = "text"


class Joins(Toy):
    """Reads one thing, and another where it is there."""

    inputs: ClassVar[str | Sequence[str]] = ("text",)
    optional_inputs: ClassVar[str | Sequence[str]] = ("notes",)


CHAIN = [toy("a"), toy("b", "a"), toy("c", "b")]


def bound(step: Step) -> Mapping[str, str | None]:
    return line(*CHAIN, step).inputs(step.name)


def test_what_is_plain_is_bound_by_itself() -> None:
    assert bound(Step(Reads, "c")) == {"text": "c"}
    assert bound(Step(Joins, "c")) == {"text": "c", "notes": None}
    named = type("Named", (Toy,), {"inputs": ("a", "c"), "optional_inputs": ("b", "d")})
    assert bound(Step(named, ["c"])) == {"a": "a", "c": "c", "b": "b", "d": None}
    only = type("Only", (Toy,), {"optional_inputs": "notes"})
    assert bound(Step(only, "b")) == {"notes": "b"}


def test_a_step_may_read_anything_before_it() -> None:
    given = {"text": "a", "notes": "b"}
    assert bound(Step(Joins, "c", inputs=given)) == given
    pipeline = line(*CHAIN, Step(Joins, "c", inputs=given))
    assert pipeline.upstream("joins") == ("a", "b", "c")
    assert pipeline.reads("joins") == ("c", "a", "b")
    assert pipeline.reads("b") == ("a",)


def test_an_optional_input_may_be_left_unbound() -> None:
    step = Step(type("Named", (Toy,), {"optional_inputs": ("a", "b")}), "c", inputs={"a": None})
    assert bound(step) == {"a": None, "b": "b"}


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (
            Step(Reads, ["b", "c"]),
            "step 'reads' has to say which output it reads as its 'text': "
            "Step(..., inputs={'text': ...}); before it: a, b, c",
        ),
        (Step(Reads, SOURCE), "before it: only the source"),
        (
            Step(Reads, "b", inputs={"text": "c"}),
            "step 'reads' reads 'c' as its 'text', which is no step before it; before it: a, b",
        ),
        (Step(Reads, "b", inputs={"text": "reads"}), "which is no step before it"),
        (Step(Reads, "b", inputs={"text": "aa"}), "which is no step before it"),
        (
            Step(Reads, "b", inputs={"txt": "a"}),
            "step 'reads' binds the input 'txt'; its stage reads: text",
        ),
        (Step(Reads, "b", inputs={"text": None}), "has to say which output it reads"),
        (
            Step(type("Plain", (Stage,), {}), "b", inputs={"text": "a"}),
            "step 'plain' binds the input 'text'; its stage names no inputs",
        ),
        (
            Step(type("Named", (Toy,), {"inputs": "a"}), "c"),
            "step 'named' may read 'a' or 'c' as its 'a'; say which: Step(..., inputs={'a': ...})",
        ),
        (Step(Reads, "c", name="a"), "two steps are named 'a'"),
        (Step(Reads, "c", name="x/y"), "'x/y' is no name for a step"),
        (Step(Reads, "c", name=".x"), "'.x' is no name for a step"),
    ],
)
def test_what_cannot_be_read_is_refused(step: Step, problem: str) -> None:
    with pytest.raises(PipelineError, match=r"^pipeline 'toy': ") as refusal:
        line(*CHAIN, step)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


# An item as a step has it


def finished(item: Item, stage: str) -> Path:
    commit_output(item, stage, open_scratch(item, stage), "f")
    return item.folder / stage


def test_an_input_is_the_folder_of_the_step_that_it_is_bound_to(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v").with_inputs({"text": "a", "notes": "b", "more": None})
    assert not item.has_input("text")
    with pytest.raises(MissingOutput, match="has no output of stage 'a'"):
        item.input("text")
    assert finished(item, "a") == item.input("text")
    assert item.has_input("text")
    assert not item.has_input("notes")
    assert not item.has_input("more")
    with pytest.raises(MissingOutput, match="no step's output is bound to the input 'more'"):
        item.input("more")
    for ask in (item.input, item.has_input):
        with pytest.raises(PipelineError, match="reads 'txt', but its inputs are: text, notes"):
            ask("txt")


def test_inputs_do_not_make_it_another_item(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    seen = item.with_inputs({"text": "a"})
    assert seen == item
    assert hash(seen) == hash(item)
    assert repr(seen) == repr(item)
    assert pickle.loads(pickle.dumps(seen)).inputs == {"text": "a"}
    assert seen.child("w").inputs == {}


# One class twice


class Say(Stage):
    """Write what was said before, and a word."""

    optional_inputs: ClassVar[str | Sequence[str]] = "before"

    class Settings(EngineSettings):
        word: str = setting("hm", "What to say.")

    settings: "Say.Settings"

    def process(self, item: Item, out: Path) -> Any:
        self.say(item, out)

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        for item, out in zip(items, outs, strict=True):
            self.say(item, out)
        return [None] * len(items)

    def say(self, item: Item, out: Path) -> None:
        note(self.workdir / "executions", f"{self.name} {item.id}")
        if item.source == "bad" and self.name == "second":
            raise Permanent("told to")
        before = (item.input("before") / "text").read_text() if item.has_input("before") else ""
        (out / "text").write_text(f"{before} {self.settings.word}".strip())
        (item.partial(self.name) / "half").touch()


class SayOnLoop(Say):
    name = "say"

    async def process(self, item: Item, out: Path) -> None:
        self.say(item, out)


class Compare(Stage):
    """Write what two others wrote."""

    inputs: ClassVar[str | Sequence[str]] = ("left", "right")

    def process(self, item: Item, out: Path) -> None:
        note(self.workdir / "executions", f"{self.name} {item.id}")
        texts = [(item.input(role) / "text").read_text() for role in ("left", "right")]
        (out / "text").write_text(" | ".join(texts))


def twice(say: type[Say] = Say) -> Pipeline:
    return line(
        Step(say, SOURCE, name="first"),
        Step(say, "first", name="second"),
        Step(Compare, "second", inputs={"left": "first", "right": "second"}),
    )


WORDS = ["stages.first.word=A", "stages.second.word=B"]

IN_PROCESSES = [f"stages.{name}.placement=process" for name in ("first", "second", "compare")]


def text(workdir: Path, source: str, stage: str) -> str:
    return (Item.at(workdir, source).output(stage) / "text").read_text()


@pytest.mark.parametrize(
    ("say", "options"),
    [
        (Say, []),
        (Say, IN_PROCESSES),
        (Say, ["stages.first.batch=3", "stages.second.batch=3"]),
        (Say, [*IN_PROCESSES, "stages.second.batch=3"]),
        (SayOnLoop, []),
        (SayOnLoop, ["stages.second.batch=3"]),
    ],
)
def test_one_class_stands_twice(fast: Path, say: type[Say], options: Sequence[str]) -> None:
    sources = [f"v{number}" for number in range(4)]
    report = run(twice(say), fast, [*sources, "bad"], *WORDS, *options)
    assert list(report.pools) == ["first", "second", "compare"]
    assert [counts.stage for counts in report.counts] == ["first", "second", "compare"]
    assert [(one.stage, one.kind) for one in report.failures] == [("second", "permanent")]
    for source in sources:
        assert text(fast, source, "first") == "A"
        assert text(fast, source, "second") == "A B"
        assert text(fast, source, "compare") == "A | A B"
    assert outcomes(fast)["second", item_id("bad")] == ("failed", "permanent")
    assert leftovers(fast) == [], "also what a step keeps between attempts goes by its own name"


def test_one_class_twice_is_reused_and_redone_apart(fast: Path) -> None:
    assert stages_run(fast, *WORDS) == ["compare", "first", "second"]
    assert stages_run(fast, *WORDS) == []
    assert stages_run(fast, WORDS[0], "stages.second.word=C") == ["compare", "second"]
    assert text(fast, "v", "compare") == "A | A C"
    assert stages_run(fast, "stages.first.word=D", "stages.second.word=C") == [
        "compare",
        "first",
        "second",
    ]


def stages_run(workdir: Path, *overrides: str) -> list[str]:
    before = executions(workdir)
    run(twice(), workdir, ["v"], *overrides)
    return sorted(stage for stage, _ in executions(workdir) - before)


def test_each_of_the_two_has_settings_and_options_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(render_config([twice()]).replace('"hm"', '"A"', 1))
    config = load_config(twice(), file, {"PENSTOCK_SECOND_WORD": "B"}, [], {})
    assert [config.stages[n].settings.word for n in ("first", "second")] == ["A", "B"]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"stage 'first' can use 1 at most"):
        load_config(
            line(Step(Single, SOURCE, name="first")), None, {}, ["stages.first.workers=2"], {}
        )


class Single(Stage):
    max_workers = 1


class Shy(Stage):
    """Cannot start."""

    def open(self) -> None:
        raise RuntimeError("no")


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_what_cannot_start_is_named_by_its_step(fast: Path, placement: str) -> None:
    pipeline = line(Step(Shy, SOURCE, name="one"))
    with pytest.raises(PenstockError, match="stage 'one' could not start: RuntimeError"):
        run(pipeline, fast, ["v"], f"stages.one.placement={placement}")


# Why an optional input is not there


class Asks(Stage):
    """Writes down why it has no input, by role."""

    optional_inputs: ClassVar[str | Sequence[str]] = ("notes", "words")

    def process(self, item: Item, out: Path) -> None:
        why = {role: item.why_failed(role) for role in self.optional_inputs}
        (out / "value.json").write_text(json.dumps(why))


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_stage_is_told_why_an_optional_input_failed(fast: Path, placement: str) -> None:
    """A whole item as well as a part, which reads what was made of the item; not of a skip."""
    given = {"notes": "a", "words": "b"}
    pipeline = line(
        toy("a", does={"v": ["permanent"]}),
        toy("b", does={"v": ["skip"]}),
        cut("c", cuts={"v": 1}),
        Step(Asks, ("a", "b"), inputs=given, name="whole"),
        Step(Asks, ("c", "a", "b"), inputs=given, each="c", name="each"),
    )
    options = ["stages.a.optional=true", f"stages.whole.placement={placement}"]
    item = Item.at(fast, "v")
    for value in range(2):  # in the second run the failure is one of an earlier run
        run(pipeline, fast, ["v"], *options, f"stages.c.value={value}")
        for one, step in ((item, "whole"), (item.part("c", 0), "each")):
            assert read_value(one, step) == {"notes": "told to", "words": None}
        shutil.rmtree(item.output("whole"))
    assert executions(fast)["a", item.id] == 1


class AsksOfParts(Stage):
    """Writes down why parts have no notes, by position."""

    inputs: ClassVar[str | Sequence[str]] = "pieces"
    optional_inputs: ClassVar[str | Sequence[str]] = ("notes", "words")

    def process(self, item: Item, out: Path) -> None:
        parts = {one.position: one for one in item.parts("pieces")}
        why = {at: [one.why_failed("notes"), one.why_failed("words")] for at, one in parts.items()}
        (out / "value.json").write_text(json.dumps(why))


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_step_that_gathers_is_told_why_a_part_failed(fast: Path, placement: str) -> None:
    """Of each part what was its own reason, of an earlier run too; of the item what was the item's;
    none of a skip, and none once a retry has mended it."""
    does = {"v/0": ["permanent"], "v/1": ["skip"], "v/3": ["bug", 1]}
    pipeline = line(
        toy("w", does={"v": ["permanent"]}),
        cut("c", "w", cuts={"v": 4}),
        at("c", "n", does=does),
        Step(
            AsksOfParts,
            ("c", "n"),
            inputs={"pieces": "c", "notes": "n", "words": "w"},
            name="asks",
        ),
    )
    options = ["stages.w.optional=true", "stages.n.optional=true", "stages.n.attempts=1"]
    options += [f"stages.asks.placement={placement}"]
    item = Item.at(fast, "v")
    for _ in range(2):
        run(pipeline, fast, ["v"], *options)
        why = {at: reason for at, [reason, _] in read_value(item, "asks").items()}
        assert why == {"0": "told to", "1": None, "2": None, "3": "ValueError: told to"}
        assert {words for _, words in read_value(item, "asks").values()} == {"told to"}
        shutil.rmtree(item.output("asks"))
    graph, ledger = Graph(pipeline, {}), Ledger(fast / FILE)
    ledger.retrying.reset({name: graph.descendants(name) for name in graph.names}, stage="n")
    ledger.close()
    run(pipeline, fast, ["v"], *options)
    assert [reason for reason, _ in read_value(item, "asks").values()] == ["told to", *[None] * 3]


# Outputs that are kept for whoever reads them, and fingerprints


def far(does: Does | None = None) -> Pipeline:
    """c comes after b and reads a, too."""
    return line(toy("a"), toy("b", "a", does=does), toy("c", "b", optional_inputs=("a", "b")))


RAW = "stages.a.keep=false"


def ran(workdir: Path, pipeline: Pipeline, *overrides: str) -> list[str]:
    before = executions(workdir)
    run(pipeline, workdir, ["v"], RAW, *overrides)
    return sorted(stage for stage, _ in executions(workdir) - before)


def test_an_output_is_kept_until_all_that_read_it_have(fast: Path) -> None:
    assert ran(fast, far()) == ["a", "b", "c"]
    value = read_value(Item.at(fast, "v"), "c")
    assert value["before"]["a"] == {"stage": "a", "value": 0, "before": {}}
    assert not any("/a/" in path for path in tree(fast))
    assert ran(fast, far()) == []


def test_a_deleted_output_is_made_again_for_a_step_further_down(fast: Path) -> None:
    ran(fast, far())
    assert ran(fast, far(), "stages.c.value=1") == ["a", "c"]
    assert read_value(Item.at(fast, "v"), "c")["before"]["a"] is not None
    assert ran(fast, far(), "stages.c.value=1") == []
    assert not any("/a/" in path for path in tree(fast))


def test_a_changed_input_redoes_its_reader_though_what_is_between_is_absent(fast: Path) -> None:
    pipeline = far(does={"v": ["permanent"]})
    options = "stages.b.optional=true"
    assert ran(fast, pipeline, options) == ["a", "b", "c"]
    assert ran(fast, pipeline, options) == []
    assert ran(fast, pipeline, options, "stages.a.value=1") == ["a", "b", "c"]
    assert read_value(Item.at(fast, "v"), "c")["before"]["a"]["value"] == 1


def test_a_fingerprint_is_that_of_the_first_release_where_nothing_further_up_is_read() -> None:
    pipeline = line(*CHAIN, toy("d", "b", "c"), Step(Joins, "d", inputs={"notes": "d"}))
    config = configured(pipeline, "stages.b.value=3")
    recipes = {
        name: fingerprint_settings(pipeline[name].stage, stage.settings)
        for name, stage in config.stages.items()
    }
    graph, made = Graph(pipeline, recipes), dict[str, str]()
    for name in pipeline.names:
        recipe = [name, pipeline[name].stage.version, recipes[name]]
        before = sorted([other, made[other]] for other in pipeline[name].predecessors)
        made[name] = hashlib.sha256(
            json.dumps([recipe, before], sort_keys=True).encode()
        ).hexdigest()[:32]
        upstream = tuple(made[other] for other in graph.reads[name])
        assert graph.fingerprint(name, upstream) == made[name]
