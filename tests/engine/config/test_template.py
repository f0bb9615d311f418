"""render_config: what it writes loads back to exactly the defaults."""

import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ByteSize, SecretStr

from engine import SOURCE, Pipeline, Settings, Stage, StageOptions, Step, setting
from engine.config.limits import LimitSettings
from engine.config.load import load_config
from engine.config.template import render_config


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


def test_it_holds_every_setting_in_order_and_the_options_only_where_they_differ() -> None:
    document = tomllib.loads(render_config([TOY, CHOIR]))
    assert list(document) == ["limits", "defaults", "stages"]
    # Tables are written under headers of their own where they hold anything.
    empty = {"keys", "resources", "shared_gates", "cluster"}
    limits = [key for key in LimitSettings.model_fields if key not in empty]
    assert list(document["limits"]) == limits
    assert document["defaults"] == {}
    assert list(document["stages"]) == ["fetch", "weigh-all", "sing"]
    assert document["stages"]["weigh-all"] == {}
    not_set = {"proxy", "limit", "mode", "size", "count"}
    own = [key for key in Fetch.Settings.model_fields if key not in not_set]
    assert list(document["stages"]["fetch"]) == [*own, "workers", "timeout"]


def test_what_stands_commented_out_under_defaults_are_the_defaults(tmp_path: Path) -> None:
    before, _, rest = render_config([TOY]).partition("[defaults]\n")
    commented, _, after = rest.partition("[stages.")
    options = re.sub(r"^# (\w+ = )", r"\1", commented, flags=re.MULTILINE)
    assert tomllib.loads(options) == StageOptions().model_dump()
    file = tmp_path / "config.toml"
    file.write_text(f"{before}[defaults]\n{options}[stages.{after}", encoding="utf-8")
    assert load_config(TOY, file, {}, [], {}) == load_config(TOY, None, {}, [], {})


def test_every_setting_has_its_line_once_and_what_it_may_be() -> None:
    text = render_config([TOY, CHOIR])
    for key, field in (LimitSettings.model_fields | StageOptions.model_fields).items():
        assert field.description is not None
        assert text.count(field.description) == 1, key
        assert len(re.findall(rf"^(# )?{key} = ", text, re.MULTILINE)) <= 2, key
    assert '# Awkward text.\nquoted = "' in text
    assert '# How.\n# mode = "fast"  # "fast" or "exact"\n' in text
    assert "# A limit.\n# limit = 1  # a whole number of at least 1\n" in text
    assert '# A size.\n# size = "2 GB"  # a size such as "2 GB"\n' in text
    assert "# A count.\n# count = 40  # a whole number over 0\n" in text
    assert "# Many names. (a list of texts)\nnames = [\n" in text
    assert 'workers = "auto"  # 4 at most\ntimeout = 60.5\n' in text
    assert "[stages.fetch]\n# Fetch what the source names.\n# Stage of toy, choir.\n\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_limit_of_workers_stands_there_without_a_default_of_its_own() -> None:
    class Alone(Stage):
        max_workers = 1

    text = render_config([Pipeline("p", "P.", [Step(Alone, SOURCE)])])
    assert "workers = 1  # 1 at most\n" in text.partition("[stages.alone]")[2]


def test_two_different_stages_of_one_name_stand_under_their_pipelines(tmp_path: Path) -> None:
    class Other(Stage):
        """Fetch something else."""

        name = "fetch"

        class Settings(Settings):
            speed: int = setting(1, "How fast.")

    other = Pipeline("other", "Other.", [Step(Other, SOURCE), Step(Weigh, "fetch")])
    both = [TOY, other]
    document = tomllib.loads(render_config(both))
    assert list(document["stages"]) == ["weigh-all"]
    assert "ratio" in document["toy"]["fetch"]
    assert document["other"] == {"fetch": {"speed": 1}}
    file = tmp_path / "config.toml"
    file.write_text(render_config(both), encoding="utf-8")
    for pipeline in both:
        loaded = load_config(pipeline, file, {}, [], {}, others=both)
        assert loaded == load_config(pipeline, None, {}, [], {})


def test_a_secrets_default_is_not_written_as_its_mask() -> None:
    class Locked(Stage):
        class Settings(Settings):
            key: SecretStr = setting(SecretStr("none"), "What lets us in.")

    written = render_config([Pipeline("p", "P.", [Step(Locked, SOURCE)])])
    assert '# key = ""' in written
    assert "***" not in written
