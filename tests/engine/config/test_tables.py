"""[defaults], [stages.NAME] and [PIPELINE.NAME]: which goes first, and what is said of mistakes."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import (
    SOURCE,
    ConfigError,
    Flag,
    Pipeline,
    PipelineError,
    Settings,
    Stage,
    Step,
    UsageError,
    setting,
)
from engine.config.load import Config, load_config, settings_as_dict
from engine.config.trust import check_stored


class Fetch(Stage):
    """Fetch it."""

    max_workers = 4
    defaults: ClassVar = {"workers": 2}

    class Settings(Settings):
        size: int = setting(1, "How large.", ge=1)
        server: str = setting("here", "Where from.", needs_trust=True)


class Weigh(Stage):
    """Weigh it."""

    async def process(self, item: object, out: object) -> None: ...


class Sing(Stage):
    """Sing it."""

    class Settings(Settings):
        pitch: int = setting(3, "How high.")


TOY = Pipeline(
    "toy",
    "Toy.",
    [Step(Fetch, SOURCE), Step(Weigh, "fetch")],
    flags=[Flag("--huge", "Huge.", {"stages.fetch.size": 9})],
)
CHOIR = Pipeline("choir", "Choir.", [Step(Fetch, SOURCE), Step(Sing, "fetch")])


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """load_config of a text as the file, beside another pipeline."""

    def load(
        text: str = "",
        environment: Mapping[str, str] | None = None,
        overrides: Sequence[str] = (),
        flags: Mapping[str, Any] | None = None,
        *,
        stored: Mapping[str, Any] | None = None,
        pipeline: Pipeline = TOY,
    ) -> Config:
        file = tmp_path / "config.toml"
        file.write_text(text)
        both, given = [TOY, CHOIR], (environment or {}, overrides, flags or {})
        return load_config(pipeline, file, *given, others=both, stored=stored)

    return load


def options(config: Config, key: str) -> dict[str, Any]:
    return {name: getattr(stage.options, key) for name, stage in config.stages.items()}


def size(config: Config) -> int:
    fetch = config.stages["fetch"].settings
    assert isinstance(fetch, Fetch.Settings)
    return fetch.size


def test_an_option_is_set_once_for_every_step(load: Any) -> None:
    assert options(load("[defaults]\nqueue = 3"), "queue") == {"fetch": 3, "weigh": 3}
    assert options(load("", {"PENSTOCK_DEFAULTS_QUEUE": "4"}), "queue") == {"fetch": 4, "weigh": 4}
    assert options(load("", {}, ["defaults.queue=5"]), "queue") == {"fetch": 5, "weigh": 5}


def test_it_goes_before_the_stages_own_default(load: Any) -> None:
    assert options(load(), "workers") == {"fetch": 2, "weigh": 1}
    assert options(load("[defaults]\nworkers = 3"), "workers") == {"fetch": 3, "weigh": 3}
    assert options(load("[defaults]\nworkers = 'auto'"), "workers")["fetch"] == "auto"


def test_a_step_that_cannot_have_it_is_passed_over(load: Any) -> None:
    assert options(load("[defaults]\nworkers = 5"), "workers") == {"fetch": 2, "weigh": 5}
    processes = load("[defaults]\nplacement = 'process'")
    assert options(processes, "placement") == {"fetch": "process", "weigh": "thread"}
    assert options(load("[defaults]\nkeep = false"), "keep") == {"fetch": False, "weigh": True}


def test_what_no_step_can_have_is_warned_of(load: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert options(load("[defaults]\nbatch = 2"), "batch") == {"fetch": 1, "weigh": 1}
    [told] = [record.getMessage() for record in caplog.records]
    assert "line 2: defaults.batch = 2: changes nothing: no stage of toy can have it" in told


def test_of_one_source_the_nearest_table_goes_first(load: Any) -> None:
    everyones = "[toy.fetch]\nqueue = 5\nsize = 5\n[stages.fetch]\nqueue = 4\nsize = 4\n"
    text = f"{everyones}[defaults]\nqueue = 3\n"
    assert options(load(text), "queue") == {"fetch": 5, "weigh": 3}
    assert size(load(text)) == 5
    assert options(load(text, pipeline=CHOIR), "queue") == {"fetch": 4, "sing": 3}
    assert size(load(text, pipeline=CHOIR)) == 4


def test_a_pipelines_own_setting_comes_from_the_environment_and_from_set_too(load: Any) -> None:
    assert size(load("", {"PENSTOCK_TOY_FETCH_SIZE": "6", "PENSTOCK_FETCH_SIZE": "2"})) == 6
    assert size(load("", {"PENSTOCK_CHOIR_FETCH_SIZE": "6"})) == 1
    assert size(load("", {}, ["toy.fetch.size=7", "stages.fetch.size=2"])) == 7
    assert size(load("", {}, ["choir.fetch.size=7"])) == 1


SOURCES = ("stored", "file", "environment", "set", "flags")
TABLES = ("defaults", "stages.fetch", "toy.fetch")
PLACES = [(source, table) for source in SOURCES for table in TABLES if source != "stored"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*PLACES, ("stored", "stages.fetch")]), st.integers(1, 99)))
def test_the_later_source_goes_first_and_in_it_the_nearest_table(
    tmp_path_factory: pytest.TempPathFactory, said: dict[tuple[str, str], int]
) -> None:
    def of(source: str) -> dict[str, int]:
        return {
            f"{table}.queue": said[source, table] for table in TABLES if (source, table) in said
        }

    def variable(dotted: str) -> str:
        return f"PENSTOCK_{dotted.removeprefix('stages.').replace('.', '_').upper()}"

    file = tmp_path_factory.getbasetemp() / "said.toml"
    file.write_text("".join(f"{dotted} = {value}\n" for dotted, value in of("file").items()))
    stored = {key.removeprefix("stages.fetch."): value for key, value in of("stored").items()}
    config = load_config(
        TOY,
        file,
        {variable(dotted): str(value) for dotted, value in of("environment").items()},
        [f"{dotted}={value}" for dotted, value in of("set").items()],
        of("flags"),
        stored={"stages": {"fetch": stored}},
    )

    last = max(
        said, key=lambda place: (SOURCES.index(place[0]), TABLES.index(place[1])), default=None
    )
    assert config.stages["fetch"].options.queue == (said[last] if last is not None else 8)


def test_what_a_run_stores_has_one_table_a_step_and_gives_a_later_run_the_same(load: Any) -> None:
    text = "[defaults]\nqueue = 3\n[toy.fetch]\nsize = 5\n"
    config = load(text)
    stored = json.loads(json.dumps(settings_as_dict(config)))
    assert list(stored) == ["limits", "stages"]
    assert stored["stages"]["fetch"]["size"] == 5
    assert load_config(TOY, None, {}, (), {}, stored=stored) == config
    later = load_config(TOY, None, {}, ["defaults.queue=6", "toy.fetch.size=2"], {}, stored=stored)
    assert (options(later, "queue"), size(later)) == ({"fetch": 6, "weigh": 6}, 2)


def test_what_needs_trust_needs_it_however_it_is_spelt(tmp_path: Path) -> None:
    stored = settings_as_dict(load_config(TOY, None, {}, ["toy.fetch.server=there"], {}))
    file = tmp_path / "config.toml"
    file.write_text("[choir.sing]\npitch = 4\n")
    with pytest.raises(UsageError, match=r'stages\.fetch\.server = "there"'):
        check_stored(TOY, stored, {}, (), file, tmp_path, [TOY, CHOIR])
    check_stored(TOY, stored, {}, ["toy.fetch.server=there"], file, tmp_path, [TOY, CHOIR])
    file.write_text("[choir.sing]\npitch = 4\n[toy.fetch]\nserver = 'there'\n")
    check_stored(TOY, stored, {}, (), file, tmp_path, [TOY, CHOIR])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[defaults]\nqueue = 0", "line 2: defaults.queue = 0: has to be a whole number over 0"),
        ("[defaults]\nqueu = 1", "defaults.queu = 1: no such setting; did you mean 'queue'?"),
        ("[defaults]\nsize = 1", "defaults.size = 1: no option of every step: set it in [stages.f"),
        ("defaults = 1", "line 1: defaults = 1: has to be a table of settings"),
        ("[default]\nqueue = 1", "[default]: no such section; did you mean 'defaults'?"),
        (
            "[toy.fetch]\n\nsize = 0",
            "line 3: toy.fetch.size = 0: has to be a whole number of at le",
        ),
        ("[toy.fetch]\nworkers = 5", "toy.fetch.workers = 5: stage 'fetch' can use 4 at most"),
        ("[toy.fetch]\nsise = 1", "toy.fetch.sise = 1: no such setting; did you mean 'size'?"),
        (
            "[toy.fech]\nsize = 1",
            "[toy.fech]: pipeline 'toy' has no stage 'fech'; did you mean 'fe",
        ),
        (
            "[toy]\nsize = 1",
            "toy.size = 1: a stage's settings stand in a table of their own: [toy.",
        ),
        ("toy = 1", "[toy]: has to hold one table for each stage: [toy.NAME]"),
        (
            "[choir.snig]\npitch = 1",
            "[choir.snig]: pipeline 'choir' has no stage 'snig'; did you m",
        ),
        ("[tuy.fetch]\nsize = 1", "[tuy]: no such section; did you mean 'toy'?"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_as_it_was_written(
    load: Any, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["defaults.queue=0"], "--set: defaults.queue = 0: has to be a whole number over 0"),
        (["toi.fetch.size=1"], "did you mean 'toy.fetch.size'?"),
        (["toy.fech.size=1"], "pipeline 'toy' has no stage 'fech'; did you mean 'fetch'?"),
    ],
)
def test_a_mistake_on_the_command_line_too(load: Any, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("", {}, overrides)
    assert told in str(caught.value)


def test_what_is_another_pipelines_is_let_be(load: Any) -> None:
    text = "[choir.sing]\npitch = 4\n[stages.sing]\npitch = 5\n[choir.fetch]\nsize = 7\n"
    environment = {"PENSTOCK_CHOIR_SING_PITCH": "5", "PENSTOCK_SING_PITCH": "6"}
    assert load(text, environment) == load()


def test_so_is_what_another_stage_of_one_name_has_in_another_pipeline(tmp_path: Path) -> None:
    class Other(Stage):
        name = "fetch"

        class Settings(Settings):
            speed: int = setting(1, "How fast.")

    other = Pipeline("other", "Other.", [Step(Other, SOURCE)])
    file, environment = tmp_path / "config.toml", {"PENSTOCK_FETCH_SPEED": "4"}
    file.write_text("[stages.fetch]\nspeed = 3\nsize = 2\n")
    config = load_config(TOY, file, environment, (), {}, others=[other])
    assert size(config) == 2
    config = load_config(other, file, environment, (), {}, others=[TOY])
    assert config.stages["fetch"].settings == Other.Settings(speed=4)
    with pytest.raises(ConfigError, match=r'fetch\.spead = "3": no such setting'):
        load_config(TOY, None, {}, ["stages.fetch.spead=3"], {}, others=[other])


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("[defaults]\ncolour = 'red'\n", False),
        ("[choir]\ncolour = 'red'\n", False),
        ("[defaults]\nqueue = 3\n", True),
        ("[toy.fetch]\nqueue = 3\n", True),
        ("[toy.fech]\nqueue = 3\n", True),
        ("[choir.sing]\nqueue = 3\n", True),
    ],
)
def test_a_file_that_was_found_is_ours_if_it_names_what_we_know(
    tmp_path: Path, text: str, ours: bool, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with suppress(ConfigError):
        load_config(TOY, file, {}, (), {}, others=[CHOIR], found=True)
    passed_over = [record for record in caplog.records if "is passed over" in record.getMessage()]
    assert bool(passed_over) is not ours


def test_a_variable_that_a_stages_setting_has_stays_that_settings() -> None:
    class Both(Stage):
        name = "toy-fetch"

        class Settings(Settings):
            size: int = setting(1, "How large.")

    pipeline = Pipeline("toy", "Toy.", [Step(Fetch, SOURCE), Step(Both, "fetch")])
    config = load_config(pipeline, None, {"PENSTOCK_TOY_FETCH_SIZE": "5"}, (), {})
    assert size(config) == 1
    assert config.stages["toy-fetch"].settings == Both.Settings(size=5)


def test_no_pipeline_takes_the_name_of_another_table() -> None:
    for name in ("limits", "defaults", "stages"):
        with pytest.raises(PipelineError, match="cannot be named"):
            load_config(Pipeline(name, "P.", [Step(Sing, SOURCE)]), None, {}, (), {})
