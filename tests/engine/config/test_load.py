"""load_config: precedence, types, and one clear line for every mistake a person can make."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from engine import (
    SOURCE,
    ConfigError,
    Flag,
    Item,
    Parts,
    Pipeline,
    PipelineError,
    Settings,
    Stage,
    Step,
    setting,
)
from engine.config.limits import KeyLimits, LimitSettings
from engine.config.load import Config, fingerprint_settings, load_config, settings_as_dict


class Fetch(Stage):
    """Fetch what the source names."""

    max_workers = 4
    defaults: ClassVar = {"workers": 2}

    class Settings(Settings):
        agent: str = setting("toy/1", "What we say we are.", affects_output=False)
        token: SecretStr | None = setting(None, "What lets us in.", affects_output=False)
        ratio: float = setting(1.0, "How much of it.", gt=0, le=8)
        mode: Literal["fast", "exact"] = setting("exact", "How.")
        names: list[str] = setting(["a", "b"], "Which.")
        kinds: set[str] = setting({"x"}, "Which kinds.")
        headers: dict[str, str] = setting({}, "What we send.")
        strict: bool = setting(False, "Whether to be strict.")


class Weigh(Stage):
    """Weigh it, several at a time."""

    name = "weigh-all"
    variables: ClassVar = {"WEIGH_MAX_WORKERS": "workers", "WEIGH_LIMIT": "size"}

    class Settings(Settings):
        size: int | None = setting(None, "How large.", ge=1)

    async def process(self, item: object, out: object) -> None: ...


TOY = Pipeline(
    "toy",
    "Toy.",
    [Step(Fetch, SOURCE), Step(Weigh, "fetch")],
    flags=[Flag("--strict", "Be strict.", {"stages.fetch.strict": True})],
)


def load(
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    tmp_path: Path | None = None,
    pipeline: Pipeline = TOY,
    others: Sequence[Pipeline] = (),
) -> Config:
    file = None
    if text is not None:
        assert tmp_path is not None
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
    return load_config(pipeline, file, environment or {}, overrides, flags or {}, others=others)


def problem(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


def fetch(config: Config) -> Any:
    return config.stages["fetch"].settings


def test_without_any_source_everything_is_the_default() -> None:
    config = load()
    assert config.limits == LimitSettings()
    assert config.limits.free_disk == 2_000_000_000
    assert fetch(config) == Fetch.Settings()
    assert config.stages["fetch"].options.workers == 2, "the stage's own default"
    assert config.stages["weigh-all"].options.workers == 1
    assert list(config.stages) == ["fetch", "weigh-all"]


def test_a_device_of_this_machine_does_not_bound_workers_on_a_cluster(tmp_path: Path) -> None:
    placed = "placement = 'ray'\nresources = {GPU = 1}\n"
    for text in (
        f"[stages.fetch]\nworkers = 5\n{placed}",
        f"[defaults]\nworkers = 5\n[stages.fetch]\n{placed}",
    ):
        assert load(text, tmp_path=tmp_path).stages["fetch"].options.workers == 5


def test_each_source_goes_before_the_one_below_it(tmp_path: Path) -> None:
    sources: dict[str, Any] = {
        "text": "[stages.fetch]\nratio = 2\nworkers = 3",
        "environment": {"PENSTOCK_FETCH_RATIO": "3"},
        "overrides": ["stages.fetch.ratio=4"],
        "flags": {"stages.fetch.ratio": 5},
    }
    given: dict[str, Any] = {}
    for expected, (source, value) in enumerate(sources.items(), 2):
        given[source] = value
        config = load(**given, tmp_path=tmp_path)
        assert fetch(config).ratio == expected
        assert config.stages["fetch"].options.workers == 3


def test_the_later_of_two_overrides_wins() -> None:
    assert fetch(load(overrides=["stages.fetch.ratio=2", "stages.fetch.ratio = 3"])).ratio == 3


def test_a_table_holds_settings_and_options_together(tmp_path: Path) -> None:
    text = '[limits]\nfree_disk = "1.5 GiB"\n[stages.weigh-all]\nsize = 3\nworkers = "auto"\n'
    config = load(text, tmp_path=tmp_path)
    assert config.limits.free_disk == 1610612736
    assert config.stages["weigh-all"].options.workers == "auto"
    assert config.stages["weigh-all"].settings == Weigh.Settings(size=3)


def test_a_key_may_have_limits_of_its_own(tmp_path: Path) -> None:
    text = '[limits]\nrate = 2\n[limits.keys."h.org"]\nconcurrency = 3\n'
    config = load(text, tmp_path=tmp_path)
    assert config.limits.keys == {"h.org": KeyLimits(concurrency=3)}
    assert load(overrides=['limits.keys={"h.org" = {concurrency = 3}}']).limits.keys == (
        config.limits.keys
    )
    again = load_config(TOY, None, {}, [], {}, stored=settings_as_dict(config))
    assert again.limits == config.limits


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[stages.fetch]\r\nratio = 2\r\n")
    assert fetch(load_config(TOY, file, {}, [], {})).ratio == 2


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("ratio", "2.5", 2.5),
        ("names", '["x", "y"]', ["x", "y"]),
        ("headers", '{A = "b"}', {"A": "b"}),
        ("strict", "true", True),
        ("agent", "plain text", "plain text"),
        ("agent", '"quoted"', "quoted"),
        ("agent", "2024", "2024"),
        ("agent", "true", "true"),
        ("agent", "2024-01-02", "2024-01-02"),
        ("agent", "1\nratio = 2", "1\nratio = 2"),
        ("agent", "", ""),
        ("mode", "fast", "fast"),
    ],
)
def test_variables_and_overrides_are_toml_values_or_else_text(
    key: str, text: str, value: object
) -> None:
    by_variable = load(environment={f"PENSTOCK_FETCH_{key.upper()}": text})
    by_override = load(overrides=[f"stages.fetch.{key}={text}"])
    assert getattr(fetch(by_variable), key) == getattr(fetch(by_override), key) == value


def test_variables_are_named_for_section_and_key() -> None:
    config = load(
        environment={
            "PENSTOCK_LIMITS_FREE_DISK": "5 GB",
            "PENSTOCK_WEIGH_ALL_SIZE": "7",
            "PENSTOCK_WEIGH_ALL_QUEUE": "9",
            "PENSTOCK_TEST_DATA": "/ignored",
            "PENSTOCK_AIMOCK": "ignored",
            "PATH": "/bin",
        }
    )
    assert config.limits.free_disk == 5_000_000_000
    assert config.stages["weigh-all"].settings == Weigh.Settings(size=7)
    assert config.stages["weigh-all"].options.queue == 9


def test_a_stage_may_name_variables_of_its_own() -> None:
    given = {"WEIGH_MAX_WORKERS": "3", "WEIGH_LIMIT": "5"}
    weigh = load(environment=given).stages["weigh-all"]
    assert (weigh.options.workers, weigh.settings) == (3, Weigh.Settings(size=5))
    ours = load(environment=given | {"PENSTOCK_WEIGH_ALL_SIZE": "7"}).stages["weigh-all"]
    assert ours.settings == Weigh.Settings(size=7)
    told = problem(environment={"WEIGH_LIMIT": "many"})
    assert told.startswith('WEIGH_LIMIT: stages.weigh-all.size = "many": has to be a whole number')

    class Wrong(Weigh):
        variables: ClassVar = {"WEIGH_SPEED": "speed"}

    with pytest.raises(PipelineError, match="WEIGH_SPEED would set 'speed': no such setting"):
        load(pipeline=Pipeline("toy", "Toy.", [Step(Wrong, SOURCE)]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[stages.fetch]\nratio = 0",
            "line 2: stages.fetch.ratio = 0: has to be a number over 0 and of at most 8",
        ),
        ("[stages.fetch]\n\nratio='x'", 'line 3: stages.fetch.ratio = "x": has to be a number'),
        (
            "stages.fetch.mode = 'slow'",
            'line 1: stages.fetch.mode = "slow": has to be "fast" or "exact"',
        ),
        ("[stages.fetch]\nnames = [1]", "stages.fetch.names = [1]: has to be a list of texts"),
        ("[stages.fetch]\nstrict = 3", "stages.fetch.strict = 3: has to be true or false"),
        (
            "[stages.fetch]\nqueue = true",
            "stages.fetch.queue = true: has to be a whole number over 0",
        ),
        (
            "[stages.fetch]\nqueue = 1.5",
            "stages.fetch.queue = 1.5: has to be a whole number over 0",
        ),
        (
            "[stages.fetch]\nworkers = 0",
            'stages.fetch.workers = 0: has to be a whole number over 0, or "auto"',
        ),
        ("[stages.fetch]\nworkers = 5", "workers = 5: stage 'fetch' can use 4 at most"),
        ("[stages.fetch]\nbatch = 2", "batch = 2: stage 'fetch' takes one item at a time"),
        ("[stages.weigh-all]\nplacement = 'process'", "stage 'weigh-all' is async"),
        ("[stages.weigh-all]\nsize = 0", "size = 0: has to be a whole number of at least 1"),
        (
            "[stages.fetch]\nratoi = 1",
            "line 2: stages.fetch.ratoi = 1: no such setting; did you mean 'ratio'?",
        ),
        ("[stages.fetch]\nzzz = 1", "no such setting; known: agent, token, ratio"),
        (
            "[stages.fech]\nratio = 1",
            "line 1: [stages.fech]: this pipeline has no stage 'fech'; did you mean 'fetch'?",
        ),
        ("[fetch]\nratio = 1", "line 1: [fetch]: a stage's settings stand in [stages.fetch]"),
        ("[limit]\nrate = 1", "line 1: [limit]: no such section; did you mean 'limits'?"),
        ("limits = 3", "line 1: limits = 3: has to be a table of settings"),
        ("stages = 3", "line 1: [stages]: has to hold one table for each stage: [stages.NAME]"),
        ("[stages]\nfetch = 3", "line 2: stages.fetch = 3: has to be a table of settings"),
        ("[limits]\nfree_disk = '2 XB'", 'free_disk = "2 XB": has to be a size such as "2 GB"'),
        ("[limits]\nfailure_budget = 50", "failure_budget = 50: has to be a number from 0 to 1"),
        ("[limits]\nrate = nan", "limits.rate = nan: has to be a number of at least 0"),
        (
            "[limits]\n[limits.keys.'h.org']\nrate = -1",
            'line 2: limits.keys."h.org".rate = -1: has to be a number of at least 0',
        ),
        (
            "[limits.keys.h]\nrat = 1",
            "keys.h.rat = 1: no such setting; did you mean 'rate'?",
        ),
        ("[limits.keys.h]\nconcurrency = true", "concurrency = true: has to be a whole number of"),
        ("[limits.keys]\nh = 3", "line 1: limits.keys.h = 3: has to be a table"),
        ("[limits]\nresources = {x = 0}", "resources.x = 0: has to be a whole number over 0"),
        ("[limits]\nkeys = 3", "line 2: limits.keys = 3: has to be a table"),
        (
            "[limits]\nfailure_window = 5",
            "[limits]: failure_window (5) has to be at least failure_minimum (10)",
        ),
        ("[limits\n", "not valid TOML: line 1, column 8: "),
        ("[limits]\nrate = \n", "not valid TOML: line 2, column 8: Invalid value"),
        ('[limits]\nrate = "', "not valid TOML: line 2, column 9: "),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_says_where(
    tmp_path: Path, text: str, expected: str
) -> None:
    message = problem(text, tmp_path=tmp_path)
    assert expected in message
    assert message.startswith(str(tmp_path / "config.toml"))
    assert "\n" not in message


class Cut(Stage):
    """Cut it into parts."""

    def split(self, item: Item, out: Path, parts: Parts) -> None: ...


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cut.batch=2", "stages.cut.batch = 2: stage 'cut' splits one item at a time: leave it at"),
        ("cut.optional=true", "stage 'cut' splits, and without its parts nothing after it has"),
        ("fetch.most_failed=1", "stage 'fetch' makes no parts: set it for the one that does (cut)"),
    ],
)
def test_what_a_step_that_splits_cannot_have(given: str, expected: str) -> None:
    steps = [Step(Cut, SOURCE), Step(Fetch, "cut", each="cut")]
    cuts = Pipeline("cuts", "Cuts.", steps)
    message = problem(overrides=[f"stages.{given}"], pipeline=cuts)
    assert expected in message
    assert "\n" not in message
    load(overrides=["stages.cut.most_failed=0.5", "defaults.most_failed=2"], pipeline=cuts)
    unsplit = problem(overrides=["stages.fetch.most_failed=1"])
    assert "makes no parts: set it for the one that does, which this pipeline does not" in unsplit


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"environment": {"PENSTOCK_FETCH_RATIO": "much"}},
            'PENSTOCK_FETCH_RATIO: stages.fetch.ratio = "much": has to be a number',
        ),
        (
            {"environment": {"PENSTOCK_FETCH_RATO": "1"}},
            "PENSTOCK_FETCH_RATO: no setting has this variable; did you mean PENSTOCK_FETCH_RATIO?",
        ),
        ({"overrides": ["stages.fetch.ratio"]}, "--set stages.fetch.ratio: write it as NAME=VALUE"),
        (
            {"overrides": ["stages.fetch.ratio=-1"]},
            "--set: stages.fetch.ratio = -1: has to be a number",
        ),
        (
            {"overrides": ["fetch.ratio=1"]},
            "--set: fetch.ratio = \"1\": no such setting; did you mean 'stages.fetch.ratio'?",
        ),
        (
            {"overrides": ["stages.fetch.headers.A=1"]},
            "stages.fetch.headers is one setting: set it whole",
        ),
        (
            {"overrides": ["limits.keys.h.rate=1"]},
            "limits.keys is one setting: set it whole",
        ),
        (
            {"overrides": ["qqqqqq=1"]},
            "no such setting; it is limits.KEY, defaults.KEY, stages.NAME.KEY or toy.NAME.KEY",
        ),
        (
            {"flags": {"stages.fetch.strict": 7}},
            "--strict: stages.fetch.strict = 7: has to be true or false",
        ),
        ({"flags": {"stages.fetch.ratio": "x"}}, 'command line: stages.fetch.ratio = "x"'),
    ],
)
def test_a_mistake_elsewhere_names_its_origin(given: dict[str, Any], expected: str) -> None:
    message = problem(**given)
    assert message.startswith(expected) or expected in message
    assert "\n" not in message


def test_every_mistake_has_a_line_of_its_own(tmp_path: Path) -> None:
    text = "[limits]\nrate = -1\n[stages.fetch]\nratio = 'x'\nworkers = 9\n"
    lines = problem(text, {"PENSTOCK_NOPE": "1"}, ["x=1"], tmp_path=tmp_path).splitlines()
    assert len(lines) == 5
    assert sum("line " in line for line in lines) == 3


def test_a_missing_file_an_unreadable_one_and_a_folder_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such configuration file"):
        load_config(TOY, missing, {}, [], {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(TOY, tmp_path, {}, [], {})
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 5"):
        load_config(TOY, latin, {}, [], {})


def test_a_secret_stays_out_of_messages_and_of_the_ledger() -> None:
    message = problem(flags={"stages.fetch.token": 99887766})
    assert "99887766" not in message
    assert "stages.fetch.token: has to be text" in message
    config = load(environment={"PENSTOCK_FETCH_TOKEN": "99887766"})
    assert fetch(config).token.get_secret_value() == "99887766"
    assert "99887766" not in json.dumps(settings_as_dict(config))


def test_long_values_are_cut_in_messages() -> None:
    message = problem(overrides=[f"stages.fetch.ratio={'x' * 500}"])
    assert len(message) < 200


def test_other_pipelines_share_the_file_and_the_environment(tmp_path: Path) -> None:
    class Sing(Stage):
        class Settings(Settings):
            pitch: int = setting(3, "How high.")

    other = Pipeline("other", "Other.", [Step(Sing, SOURCE)])
    text, environment = "[stages.sing]\npitch = 4\n", {"PENSTOCK_SING_PITCH": "5"}
    assert load(text, environment, tmp_path=tmp_path, others=[other]) == load()
    assert "has no stage 'sing'" in problem(text, tmp_path=tmp_path)


def test_the_pipeline_resolves_settings_that_follow_from_others() -> None:
    def resolve(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
        return settings | {"fetch": settings["fetch"].model_copy(update={"agent": "resolved"})}

    pipeline = Pipeline("toy", "Toy.", [Step(Fetch, SOURCE)], resolve=resolve)
    assert fetch(load(pipeline=pipeline)).agent == "resolved"


def test_a_stage_that_cannot_be_configured_is_the_pipelines_mistake() -> None:
    class Clash(Stage):
        class Settings(Settings):
            workers: int = setting(1, "Mine.")

    class Wrong(Stage):
        defaults: ClassVar = {"wrokers": 1}

    class Refused(Stage):
        defaults: ClassVar = {"workers": 0}

    class Greedy(Stage):
        max_workers = 1
        defaults: ClassVar = {"workers": 2}

    class BadDefault(Stage):
        class Settings(Settings):
            size: int = setting(0, "Size.", gt=0)

    class FetchRatio(Stage):
        name = "fetch-ratio"

        class Settings(Settings):
            x: int = setting(0, "X.")

    class FetchX(Stage):
        name = "fetch"

        class Settings(Settings):
            ratio_x: int = setting(0, "X.")

    for stages, match in [
        ([Clash], "stage 'clash': its setting 'workers' has the name of an option"),
        ([Wrong], "stage 'wrong': its defaults name 'wrokers'"),
        ([Refused], "stage 'refused': the default workers = 0 is refused"),
        ([Greedy], "stage 'greedy': its default for workers is refused: .* 1 at most"),
        ([BadDefault], "stages.baddefault: the default size = 0 is refused"),
        ([FetchRatio, FetchX], "would both be set by PENSTOCK_FETCH_RATIO_X"),
    ]:
        with pytest.raises(PipelineError, match=match):
            load(pipeline=Pipeline("p", "P.", [Step(stage, SOURCE) for stage in stages]))


def test_a_setting_without_a_default_has_to_be_set() -> None:
    class Needy(Stage):
        class Settings(Settings):
            key: int

    pipeline = Pipeline("p", "P.", [Step(Needy, SOURCE)])
    assert problem(pipeline=pipeline) == "stages.needy.key has to be set: a whole number"


def test_a_stages_own_check_speaks_in_its_own_words() -> None:
    from pydantic import field_validator

    class Even(Stage):
        class Settings(Settings):
            number: int = setting(2, "An even number.")

            @field_validator("number")
            @classmethod
            def _is_even(cls, number: int) -> int:
                if number % 2:
                    raise ValueError("odd numbers do not work here, use 2 or 4")
                return number

    pipeline = Pipeline("p", "P.", [Step(Even, SOURCE)])
    message = problem(pipeline=pipeline, overrides=["stages.even.number=3"])
    assert message == "--set: stages.even.number = 3: odd numbers do not work here, use 2 or 4"


def test_settings_as_dict_is_json_and_gives_a_later_run_the_same_settings() -> None:
    overrides = ["stages.fetch.kinds=['c','a','b']", "stages.weigh-all.size=2", "limits.rate=3"]
    config = load(overrides=overrides)
    dumped = json.loads(json.dumps(settings_as_dict(config)))
    assert dumped["stages"]["fetch"]["kinds"] == ["a", "b", "c"]
    assert load_config(TOY, None, {}, [], {}, stored=dumped) == config
    environment = {"PENSTOCK_WEIGH_ALL_SIZE": "4"}
    later = load_config(TOY, None, environment, ["limits.rate=5"], {}, stored=dumped)
    assert later.stages["weigh-all"].settings == Weigh.Settings(size=4)
    assert (later.limits.rate, fetch(later).kinds) == (5, {"a", "b", "c"})


def test_stored_settings_that_have_gone_are_passed_over_and_secrets_are_not_stored() -> None:
    dumped = settings_as_dict(load(environment={"PENSTOCK_FETCH_TOKEN": "99887766"}))
    dumped["stages"]["fetch"]["gone"] = 1
    dumped["stages"]["gone"] = {"x": 1}
    assert load_config(TOY, None, {}, [], {}, stored=dumped) == load()
    dumped["stages"]["fetch"]["ratio"] = 99
    with pytest.raises(ConfigError, match=r"^the last run's settings: stages\.fetch\.ratio = 99: "):
        load_config(TOY, None, {}, [], {}, stored=dumped)


class Server(BaseModel):
    """One that has a key, and may have a substitute."""

    address: str = "here"
    key: SecretStr | None = None
    token: SecretBytes = SecretBytes(b"none")
    next: "Server | None" = None


class Locked(Stage):
    """Has secrets of every shape."""

    class Settings(Settings):
        several: list[SecretStr] = setting([], "Keys.")
        named: dict[str, Secret[int]] = setting({}, "Numbers.")
        server: Server = setting(Server, "Where.")
        servers: list[Server] = setting([], "Where else.")
        plain: list[str] = setting([], "No secrets.")


def test_secrets_inside_of_settings_are_kept_out_too() -> None:
    pipeline = Pipeline("p", "P.", [Step(Locked, SOURCE)])
    inner = {"address": "there", "key": "99887766"}
    flags = {
        "stages.locked.several": ["99887766"],
        "stages.locked.named": {"a": 99887766},
        "stages.locked.server": {**inner, "token": "99887766", "next": inner},
        "stages.locked.servers": [inner],
        "stages.locked.plain": ["x"],
    }
    config = load_config(pipeline, None, {}, [], flags)
    stored = settings_as_dict(config)
    assert "99887766" not in json.dumps(stored)
    assert "99887766" not in json.dumps(
        fingerprint_settings(Locked, config.stages["locked"].settings)
    )

    later = load_config(pipeline, None, {}, [], {}, stored=stored).stages["locked"].settings
    assert later == Locked.Settings(
        server=Server(address="there", next=Server(address="there")), plain=["x"]
    ), "a mask is taken for no secret"
    for key in ("several", "named", "server", "servers"):
        with pytest.raises(ConfigError) as refusal:
            load_config(pipeline, None, {}, [f"stages.locked.{key}=99887766"], {})
        assert "99887766" not in str(refusal.value)


def test_the_fingerprint_holds_only_what_changes_the_output() -> None:
    plain = fingerprint_settings(Fetch, Fetch.Settings())
    assert set(plain) == {"ratio", "mode", "names", "kinds", "headers", "strict"}
    assert fingerprint_settings(Fetch, Fetch.Settings(agent="other")) == plain
    assert fingerprint_settings(Fetch, Fetch.Settings(ratio=2)) != plain
    kinds = Fetch.Settings(kinds={"c", "a", "b"})
    assert fingerprint_settings(Fetch, kinds)["kinds"] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ['[package]\nname = "x"\n', "title = 1\n", "[[tool]]\na = 1\n"])
def test_another_programs_file_in_the_folder_is_passed_over_with_a_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert load_config(TOY, file, {}, [], {}, found=True) == load_config(TOY, None, {}, [], {})
    [record] = caplog.records
    assert f"{file} has no table of Penstock's" in record.getMessage()
    assert "--config FILE names another one" in record.getMessage()
    with pytest.raises(ConfigError, match="no such section"):
        load_config(TOY, file, {}, [], {})


@pytest.mark.parametrize("text", ["[limit]\nrate = 1", "[stage.fetch]\na = 1", "[fetch]\na = 1"])
def test_a_file_in_the_folder_that_may_be_meant_is_not_passed_over(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(TOY, tmp_path / "config.toml", {}, [], {}, found=True)


def test_a_file_in_the_folder_that_is_no_toml_says_why_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for content in (b"a: b\n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="read because it lies in the current folder") as told:
            load_config(TOY, file, {}, [], {}, found=True)
        assert "\n" not in str(told.value)
