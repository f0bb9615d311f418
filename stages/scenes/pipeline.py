"""The scenes pipeline: its steps, and the facts that no single stage knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from engine import SOURCE, Flag, Item, PageContext, Pipeline, Step
from stages.fetch.download import Download
from stages.fetch.flags import FETCHING
from stages.net.addresses import canonical_source
from stages.persistence.persist import Persist
from stages.persistence.settling import forget
from stages.persistence.store import StoreSettings, searched_file
from stages.publishing.publish import Publish, resolve_publish
from stages.scenes.checks import scenes_checks
from stages.scenes.collect import Collect
from stages.scenes.cuts.clips import Clips
from stages.scenes.describing.costs import words_costs
from stages.scenes.describing.describe import DescribeScenes
from stages.scenes.describing.steps import resolve_words
from stages.scenes.describing.summary import Summarise
from stages.scenes.fuse import Fuse
from stages.scenes.page.catalogue import SceneSteps
from stages.scenes.page.section import ScenePage
from stages.scenes.perception.captions import Captions
from stages.scenes.perception.objects import Objects
from stages.scenes.perception.sounds import Sounds
from stages.scenes.scenes import Scenes
from stages.scenes.settled import finish
from stages.sound.audio import Audio
from stages.speech.steps import resolve_speech, resolve_subtitles, speech_steps
from stages.speech.transcribe import speech_costs


def _resolve_scenes(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    words = resolve_words(resolve_subtitles(resolve_speech(_resolve_clips(settings))))
    return resolve_publish(words)


def _resolve_clips(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have clips made where the step that cuts the scenes is told so."""
    clips = cast(Clips.Settings, settings[Clips.name])
    if clips.form is None:
        asked = cast(Scenes.Settings, settings[Scenes.name]).clips
        form = asked if isinstance(asked, str) else "copy" if asked else "off"
        clips = clips.model_copy(update={"form": form})
    return settings | {Clips.name: clips}


def _costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    return {**speech_costs(item), **words_costs(item, settings)}


def _store(context: PageContext) -> StoreSettings:
    return cast(StoreSettings, context.settings.get(Persist.name, StoreSettings()))


def _database(context: PageContext) -> Path | None:
    return searched_file(_store(context), context.workdir)


page = ScenePage(
    steps=SceneSteps(scenes=Collect.name, summary=Summarise.name, video=Download.name),
    database=_database,
    own_server=lambda context: _store(context).base_url,
)

scenes = Pipeline(
    name="scenes",
    summary="Video URLs in; their scenes, with pictures and what is said, out.",
    steps=[
        Step(Download, after=SOURCE),
        Step(Audio, after="download"),
        *speech_steps("audio", "download"),
        Step(Sounds, after="audio"),
        Step(Scenes, after="download"),
        Step(
            Clips,
            after="scenes",
            inputs={"scene": "scenes", "video": "download"},
            each="scenes",
        ),
        Step(Captions, after="scenes", inputs={"scene": "scenes"}, each="scenes"),
        Step(
            Objects,
            after="scenes",
            inputs={"scene": "scenes", "video": "download"},
            each="scenes",
        ),
        Step(
            Fuse,
            after=["scenes", "audio", "sounds", "captions", "objects", "transcript"],
            inputs={"scene": "scenes"},
            each="scenes",
        ),
        Step(
            DescribeScenes,
            after="fuse",
            inputs={"record": "fuse", "video": "download"},
            each="scenes",
        ),
        Step(
            Collect,
            after=["fuse", "describe_scenes", "clips"],
            inputs={
                "records": "fuse",
                "descriptions": "describe_scenes",
                "clips": "clips",
                "video": "download",
            },
        ),
        Step(Summarise, after="collect", inputs={"scenes": "collect"}),
        Step(
            Persist,
            after=["collect", "summary"],
            inputs={"scenes": "collect", "summary": "summary"},
        ),
        Step(
            Publish,
            after=["collect", "summary"],
            inputs={"records": "collect", "summary": "summary"},
        ),
    ],
    finish=finish,
    forget=forget,
    kept=["replies", "transcripts"],
    canonical=canonical_source,
    resolve=_resolve_scenes,
    sections=page.sections,
    answer=page.answer,
    costs=_costs,
    checks=scenes_checks,
    flags=[
        Flag(
            "--dry-run",
            "Do all that is free, and say what the paid calls would take and send, and to whom.",
            {
                "stages.transcribe.dry_run": True,
                "stages.describe_scenes.dry_run": True,
                "stages.summary.dry_run": True,
                "stages.persist.dry_run": True,
            },
            once=True,
        ),
        *FETCHING,
    ],
    unit="video",
    takes="URL",
    packages=[
        "yt-dlp",
        "av",
        "scenedetect",
        "ultralytics",
        "torch",
        "Pillow",
        "numpy",
        "pyarrow",
        "httpx",
    ],
    imports=["numpy"],
)
