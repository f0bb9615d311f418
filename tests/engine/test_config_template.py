"""render_config: what it writes loads back to exactly the defaults."""

import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ByteSize

from engine import SOURCE, Pipeline, PipelineError, Settings, Stage, StageOptions, Step, setting
from engine.config import LimitSettings, load_config
from engine.config_template import render_config


class Fetch(Stage):
    """Fetch what the source names.

    A second paragraph, which the file does without.
    """

    max_workers = 4
    defaults: ClassVar = {"workers": "auto", "timeout": 60.5}

    class Settings(Settings):
        quoted: str = setting('a "b" \\ \n \x7f \u00e9 \U0001f600 # [x]', "Awkward text.")
        ratio: float = setting(1e-7, "A small number.", gt=0)
        endless: float = setting(float("inf"), "No bound.")
        proxy: str | None = setting(None, "A proxy.")
        limit: int | None = setting(None, "A limit.", ge=1)
        mode: Literal["fast", "exact"] | None = setting(None, "How.")
        size: ByteSize | None = setting(None, "A size.")
        count: int | None = setting(None, "A count.", example=40, gt=0)
        names: list[str] = setting(lambda: [f"name {n}" for n in range(40)], "Many names.")
        nested: list[list[int]] = setting([[1, 2], []], "Lists in a list.")
        kinds: frozenset[str] = setting(frozenset({"b", "a"}), "A set.")
        headers: dict[str, Any] = setting({"X-A b": {"c": [1.5, True]}, "": ""}, "A table.")
        folder: Path = setting(Path("some/where"), "A path.")
        strict: bool = setting(False, "Whether.")


class Weigh(Stage):
    name = "weigh-all"


class Sing(Stage):
    """Sing it."""


TOY = Pipeline("toy", "Toy.", [Step(Fetch, SOURCE), Step(Weigh, "fetch")])
CHOIR = Pipeline("choir", "Choir.", [Step(Fetch, SOURCE), Step(Sing, "fetch")])


@pytest.mark.parametrize("pipeline", [TOY, CHOIR])
def test_it_loads_back_to_exactly_the_defaults(tmp_path: Path, pipeline: Pipeline) -> None:
    file = tmp_path / "config.toml"
    file.write_text(render_config([TOY, CHOIR]), encoding="utf-8")
    loaded = load_config(pipeline, file, {}, [], {}, others=[TOY, CHOIR])
    assert loaded == load_config(pipeline, None, {}, [], {})


def test_it_holds_every_setting_in_order_own_settings_first() -> None:
    document = tomllib.loads(render_config([TOY, CHOIR]))
    assert list(document) == ["limits", "stages"]
    assert list(document["limits"]) == list(LimitSettings.model_fields)
    assert list(document["stages"]) == ["fetch", "weigh-all", "sing"]
    options = list(StageOptions.model_fields)
    assert list(document["stages"]["weigh-all"]) == options
    not_set = {"proxy", "limit", "mode", "size", "count"}
    own = [key for key in Fetch.Settings.model_fields if key not in not_set]
    assert list(document["stages"]["fetch"]) == own + options


def test_every_setting_has_its_line_and_what_it_may_be() -> None:
    text = render_config([TOY])
    for key, field in (LimitSettings.model_fields | StageOptions.model_fields).items():
        assert field.description is not None
        assert field.description.split()[0] in text, key
    assert '# Awkward text. (text)\nquoted = "' in text
    assert '# How. ("fast" or "exact")\n# mode = "fast"\n' in text
    assert "# A limit. (a whole number of at least 1)\n# limit = 1\n" in text
    assert '# A size. (a size such as "2 GB")\n# size = "2 GB"\n' in text
    assert "# A count. (a whole number over 0)\n# count = 40\n" in text
    assert '(a whole number over 0, or "auto"; 4 at most)\nworkers = "auto"\n' in text
    assert "[stages.fetch]\n# Fetch what the source names.\n\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_same_name_for_two_different_stages_is_refused() -> None:
    class Other(Stage):
        name = "fetch"

    other = Pipeline("other", "Other.", [Step(Other, SOURCE)])
    with pytest.raises(
        PipelineError, match="pipelines 'toy' and 'other' both have a stage 'fetch'"
    ):
        render_config([TOY, other])
