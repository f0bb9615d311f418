"""What may be tried, and how a configuration is written."""

from pathlib import Path

import pytest

from engine import SOURCE, Pipeline, Stage, Step
from engine.bench.configuration import Configuration, grid, parse_tries
from engine.config.load import load_config
from engine.contract.errors import UsageError


class Download(Stage):
    """Any number of workers."""


class Detect(Stage):
    """Owns the GPU."""

    max_workers = 1


class Wide(Stage):
    """Has a maximum."""

    max_workers = 8


PIPELINE = Pipeline(
    "toy", "A toy.", [Step(Download, SOURCE), Step(Wide, "download"), Step(Detect, "wide")]
)


HERE = dict.fromkeys(PIPELINE.names, "thread")


def test_a_grid_is_every_combination_in_the_pipelines_order() -> None:
    tries = parse_tries(["wide=4,1", "download=2,1,2"], PIPELINE, HERE)
    assert tries == {"download": (1, 2), "wide": (1, 4)}
    assert [str(one) for one in grid(tries)] == [
        "download=1 wide=1",
        "download=1 wide=4",
        "download=2 wide=1",
        "download=2 wide=4",
    ]


@pytest.mark.parametrize(
    ("tries", "said"),
    [
        ([], "nothing to try: give --try STAGE=1,2,4"),
        (["download"], "--try download: write it as STAGE=1,2,4"),
        (["downlaod=1,2"], "--try downlaod=1,2: toy has no stage 'downlaod'; did you mean"),
        (["download=1,two"], "--try download=1,two: 'two' is no number of workers"),
        (["download=0,1"], "'0' is no number of workers"),
        (["download="], "'' is no number of workers"),
        (["download=1.5"], "'1.5' is no number of workers"),
        (["detect=1,2"], "--try detect=1,2: stage 'detect' can use 1 at most"),
        (["wide=9"], "--try wide=9: stage 'wide' can use 8 at most"),
        (["download=1", "download=2"], "the stage is given twice"),
        (
            [f"download={','.join(map(str, range(1, 9999)))}", "wide=1,2,3"],
            "makes 29,994 configurations",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_line(tries: list[str], said: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_tries(tries, PIPELINE, HERE)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_device_of_this_machine_does_not_bound_a_step_on_a_cluster() -> None:
    tries = parse_tries(["detect=1,9"], PIPELINE, HERE | {"detect": "ray"})
    assert tries == {"detect": (1, 9)}


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(UsageError) as told:
        parse_tries(["downlaod=1", "wide=x"], PIPELINE, HERE)
    assert len(str(told.value).splitlines()) == 2


def test_the_block_to_paste_sets_what_was_tried(tmp_path: Path) -> None:
    configuration = Configuration.of(download=12, wide=3)
    file = tmp_path / "config.toml"
    file.write_text(configuration.toml)
    for config in (
        load_config(PIPELINE, file, {}, (), {}),
        load_config(PIPELINE, None, {}, (), configuration.settings),
    ):
        workers = {name: stage.options.workers for name, stage in config.stages.items()}
        assert workers == {"download": 12, "wide": 3, "detect": 1}
    assert configuration.total == 15
