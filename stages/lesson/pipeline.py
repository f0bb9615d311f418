"""The lesson pipeline: its steps, and the facts that no single stage knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from engine import SOURCE, Flag, Pipeline, Step, UsageError
from stages.lesson.assemble import Assemble
from stages.lesson.checks import lesson_checks
from stages.lesson.clip import SectionClip
from stages.lesson.costs import lesson_costs
from stages.lesson.films import finish, finish_item
from stages.lesson.page import answer, lesson_sections
from stages.lesson.pictures.image import LessonImage
from stages.lesson.scripts.mapping import ScriptMap
from stages.lesson.scripts.script import ScriptError, content_of_script, read_script
from stages.lesson.scripts.sections import Sections
from stages.lesson.voices.voice import Voice
from stages.net.addresses import canonical_source, local_path
from stages.publishing.publish import Publish, resolve_publish


def _canonical(text: str) -> str:
    if text.strip() == "-":
        raise UsageError("-: a script is a file, beside its pictures; write it into one first")
    if Path(text.strip()).is_dir():
        raise UsageError(f"{text} is a folder; name the scripts in it")
    if "://" not in text and not text.startswith("~") and not Path(text.strip()).exists():
        raise UsageError(f"{text!r}: there is no such file; `penstock lesson init` writes a script")
    source = canonical_source(text)
    path = local_path(source)
    if path is None:
        raise UsageError(f"{text}: a script is a file of this machine; download it first")
    if not path.is_file():
        raise UsageError(f"{text} is no file with a script in it; write the script into one")
    return source


def _precheck(source: str, settings: Mapping[str, BaseModel]) -> None:
    """Raises UsageError with all that is wrong in the script."""
    path, sections = local_path(source), cast(Sections.Settings, settings[Sections.name])
    assert path is not None
    try:
        read_script(path, ScriptMap(sections.map))
    except ScriptError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


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
        Step(Publish, after="lesson", inputs={"records": "lesson"}),
    ],
    finish=finish,
    finish_item=finish_item,
    kept=["images", "voices"],
    canonical=_canonical,
    precheck=_precheck,
    parameters=_parameters,
    resolve=resolve_publish,
    sections=lesson_sections,
    answer=answer,
    costs=lesson_costs,
    checks=lesson_checks,
    flags=[
        Flag(
            "--dry-run",
            "Send nothing, make no video, and say what the paid calls would take, and to whom.",
            {"stages.image.dry_run": True, "stages.voice.dry_run": True},
            once=True,
        ),
        Flag(
            "--preview",
            "Send nothing: cards and espeak-ng stand in for what no service has made yet.",
            {"stages.image.preview": True, "stages.voice.preview": True},
            once=True,
        ),
    ],
    commands={"init": "stages.lesson.commands:init", "schema": "stages.lesson.commands:schema"},
    unit="lesson",
    takes="FILE",
    packages=["av", "Pillow", "numpy", "pydantic", "httpx"],
    imports=["numpy"],
)
