"""Profiles: what jobs may name, and what becomes of their data."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine import ConfigError, JobProfile, Pipeline, Settings, UsageError, setting
from engine.contract.item import item_id
from stages.service.profiles import ServedProfiles, load_profiles
from tests.engine.toys import configured, toy

ADDRESS = "https://example.org/talk.mp4"

TALKS = """
[stages.transcribe]
model = "tiny"

[profiles.talks]
pipeline = "scenes"
allow = ["transcribe.language", "scenes.max_length", "scenes.min_length"]
transcribe.language = "de"
limits.rate = 2.0

[profiles.plain]
pipeline = "scenes"
limits.rate = 2.0

[profiles.quick]
pipeline = "crawl"
allow = ["extract.start", "extract.end"]
extract.fps = 0.5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, TALKS)


def written(folder: Path, text: str) -> Path:
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def served(file: Path | None, *names: str, overrides: tuple[str, ...] = ()) -> ServedProfiles:
    return load_profiles(names, file, {}, overrides)


def settings(profiles: ServedProfiles, step: str) -> Any:
    return profiles.config.stages[step].settings


def test_a_profile_is_a_pipeline_and_its_settings(file: Path) -> None:
    talks = served(file, "talks")
    assert talks.pipeline.name == "scenes"
    assert talks.config.limits.rate == 2.0
    assert settings(talks, "transcribe").language == "de"
    assert settings(talks, "transcribe").model == "tiny"
    assert settings(served(file, "scenes"), "transcribe").language is None
    over = served(file, "talks", overrides=("stages.transcribe.language=fr",))
    assert settings(over, "transcribe").language == "fr"


def test_other_commands_pass_profiles_over(file: Path) -> None:
    assert served(file, "recipe").pipeline.name == "recipe"
    assert served(None, "recipe").pipeline.name == "recipe"


def test_a_job_may_set_what_its_profile_allows(file: Path) -> None:
    talks = served(file, "talks")
    plain = talks.read({"url": ADDRESS}, []).job
    assert (plain.source, plain.id, dict(plain.parameters)) == (ADDRESS, None, {})
    same = talks.read({"url": ADDRESS, "options": {"transcribe.language": "de"}}, []).job
    assert (same.id, dict(same.parameters)) == (None, {})
    given = {"transcribe.language": None, "scenes.max_length": 5}
    other = talks.read({"url": ADDRESS, "profile": "talks", "options": given}, []).job
    assert dict(other.parameters) == {"transcribe.language": None, "scenes.max_length": 5.0}
    assert other.id is not None
    assert other.id.startswith(f"{item_id(ADDRESS)}-")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"profile": "talk"}, "no profile 'talk' here; there are: talks"),
        ({"profile": 7}, "'profile' is no text"),
        ({"deadline": "soon"}, "'deadline' is a number of milliseconds"),
        ({"deadline": True}, "'deadline' is a number of milliseconds"),
        ({"options": ["de"]}, "an object of settings"),
        ({"options": {"transcribe.languag": "de"}}, "did you mean 'transcribe.language'?"),
        ({"options": {"transcribe.model": "big"}}, "'talks' allows no option 'transcribe.model'"),
        ({"options": {"transcribe.language": 7}}, "'transcribe.language' has to be text"),
        ({"options": {"scenes.max_length": True}}, "'scenes.max_length' has to be a number"),
        ({"options": {"scenes.max_length": -1}}, "has to be a number over 0"),
        ({"options": {"scenes.max_length": "a\nb"}}, "has to be a number over 0"),
    ],
)
def test_anything_else_is_one_line(file: Path, data: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        served(file, "talks").read({"url": ADDRESS} | data, [])
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_have_to_go_together(file: Path) -> None:
    quick = served(file, "quick")
    with pytest.raises(UsageError, match="must be later than start"):
        quick.read({"url": ADDRESS, "options": {"extract.start": 5, "extract.end": 3}}, [])
    with pytest.raises(UsageError, match="allows no option"):
        served(file, "scenes").read({"url": ADDRESS, "options": {"scenes.frames": 2}}, [])


def test_one_run_serves_profiles_that_differ_in_what_items_may_have(file: Path) -> None:
    both = served(file, "plain", "talks")
    assert dict(both.read({"url": ADDRESS}, []).job.parameters) == {}
    talk = both.read({"url": ADDRESS, "profile": "talks"}, [])
    assert (talk.profile, dict(talk.job.parameters)) == ("talks", {"transcribe.language": "de"})
    plain = {"transcribe.language": None}
    same = both.read({"url": ADDRESS, "profile": "talks", "options": plain}, []).job
    assert same.id is None


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("talks", "quick"), "differ in their pipelines"),
        (("talks", "scenes"), "differ in limits"),
    ],
)
def test_others_take_a_process_each(file: Path, names: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        served(file, *names)
    assert "give each a process of its own" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[profiles.a]\n", "line 1: [profiles.a]: name its pipeline"),
        (
            "[profiles.a]\npipeline = 'scene'\n",
            "line 1: [profiles.a]: no pipeline is named 'scene'",
        ),
        ("[profiles]\na = 3\n", "[profiles.a]: name its pipeline"),
        ("profiles = 3\n", "profiles stand in tables"),
        (
            "[profiles.a]\npipeline = 'scenes'\nallow = 'scenes.frames'\n",
            "allow is a list of settings",
        ),
        (
            "[profiles.a]\npipeline = 'scenes'\nallow = ['scenes.frame']\n",
            "allow: 'scenes.frame' is no setting of which a job may have its own value; "
            "did you mean 'scenes.frames'?",
        ),
        (
            "[profiles.a]\npipeline = 'scenes'\nallow = ['transcribe.model']\n",
            "'transcribe.model' is no setting of which",
        ),
        (
            "[profiles.a]\npipeline = 'scenes'\nscene.frames = 3\n",
            "line 3: [profiles.a.scene]: pipeline 'scenes' has no such stage; did you mean",
        ),
        (
            "[profiles.a]\npipeline = 'scenes'\nscenes.frame = 3\n",
            "line 3: profiles.a.scenes.frame = 3: no such setting; did you mean 'frames'?",
        ),
        (
            "[profiles.a]\npipeline = 'scenes'\nscenes.frames = 0\n",
            "line 3: profiles.a.scenes.frames = 0: has to be a whole number from 1 to 100",
        ),
        ("[profiles.a]\npipeline = 'scenes'\nrate = 2\n", "a profile has pipeline, allow, and"),
    ],
)
def test_a_mistake_in_a_profile_is_a_line_with_its_place(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        served(written(tmp_path, text), "a")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_profile_is_a_line(file: Path) -> None:
    with pytest.raises(UsageError, match="named 'talk'; did you mean 'talks'"):
        served(file, "talk")


def test_an_option_that_another_step_follows_holds_there_or_is_refused(tmp_path: Path) -> None:
    told = TALKS.replace("limits.rate = 2.0", 'chunks.prefer = "subtitles"', 1)
    talks = served(written(tmp_path, told), "talks")
    with pytest.raises(UsageError) as refused:
        talks.read({"url": ADDRESS, "options": {"transcribe.language": "fr"}}, [])
    assert str(refused.value) == (
        "option 'transcribe.language' changes download.options, too, of which a job has no own "
        "value here; leave it out, or have a profile of its own for it"
    )
    job = talks.read({"url": ADDRESS, "options": {"scenes.max_length": 9}}, []).job
    assert job.parameters == {"scenes.max_length": 9.0}

    def follow(given: dict[str, BaseModel]) -> dict[str, BaseModel]:
        value = given["a"].value  # type: ignore[attr-defined]
        return given | {"b": given["b"].model_copy(update={"value": 2 * value})}

    class Own(Settings):
        value: int = setting(1, "A number.", per_item=True)

    steps = [toy("a", Settings=Own), toy("b", "a", Settings=Own)]
    pipeline = Pipeline("toy", "A toy.", steps, resolve=follow)
    profile = JobProfile("toy", pipeline, configured(pipeline), ("a.value",))
    assert profile.options({"a.value": 5}) == {"a.value": 5, "b.value": 10}
    assert profile.options({"a.value": 1}) == {}
