"""The lesson pipeline: its steps, and the facts that no single stage knows."""

from collections.abc import Mapping
from typing import Any

from engine import SOURCE, Flag, Pipeline, Step, UsageError
from stages.lesson.assemble import Assemble
from stages.lesson.clip import SectionClip
from stages.lesson.costs import lesson_costs
from stages.lesson.films import finish
from stages.lesson.pictures.image import LessonImage
from stages.lesson.scripts.script import content_of_script
from stages.lesson.scripts.sections import Sections
from stages.lesson.voices.voice import Voice
from stages.net.addresses import canonical_source, local_path


def _canonical(text: str) -> str:
    source = canonical_source(text)
    if local_path(source) is None:
        raise UsageError(f"{text}: a script is a file of this machine; download it first")
    return source


def _parameters(source: str) -> Mapping[str, Any]:
    """A digest of the script: one that has changed is done again, as far as it has."""
    path = local_path(source)
    return {"script": content_of_script(path)} if path is not None else {}


lesson = Pipeline(
    name="lesson",
    summary="Scripts in; narrated, captioned videos out.",
    steps=[
        Step(Sections, after=SOURCE),
        Step(LessonImage, after="sections", inputs={"section": "sections"}, each="sections"),
        Step(Voice, after="sections", inputs={"section": "sections"}, each="sections"),
        Step(
            SectionClip,
            after=["sections", "image", "voice"],
            inputs={"section": "sections"},
            each="sections",
        ),
        Step(Assemble, after=["sections", "clip"], inputs={"clips": "clip"}),
    ],
    finish=finish,
    canonical=_canonical,
    parameters=_parameters,
    costs=lesson_costs,
    flags=[
        Flag(
            "--dry-run",
            "Send nothing, make no video, and say what the paid calls would take, and to whom.",
            {"stages.image.dry_run": True, "stages.voice.dry_run": True},
            once=True,
        )
    ],
    unit="lesson",
    takes="FILE",
    packages=["av", "Pillow", "numpy", "pydantic", "httpx"],
)
