"""The recipe pipeline: its steps, and the facts that no single stage knows."""

from typing import cast

from pydantic import BaseModel

from engine import SOURCE, Flag, Pipeline, Step
from stages.fetch.download import Download
from stages.fetch.flags import FETCHING
from stages.net.addresses import canonical_source
from stages.persistence.persist import Persist
from stages.persistence.settling import forget
from stages.persistence.store import StoreSettings
from stages.publishing.publish import Publish, resolve_publish
from stages.recipe.documents import finish, finish_item
from stages.recipe.embed import Embedding, EmbedDocument, EmbedNotes
from stages.recipe.frames.frames import ChosenFrames
from stages.recipe.news import news
from stages.recipe.page import sections
from stages.recipe.uploads import UploadFrame
from stages.recipe.writing.analyse import AnalyseFrame
from stages.recipe.writing.write import WriteDocument
from stages.sound.audio import Audio
from stages.speech.steps import resolve_speech, resolve_subtitles, speech_steps
from stages.speech.transcribe import Transcribe
from stages.store.upload import Upload
from stages.vision.words_settings import TAKEN


def _resolve_recipe(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    words = _resolve_choice(_resolve_words(_resolve_sound(settings)))
    return resolve_publish(_resolve_uploads(_resolve_vectors(words)))


def _resolve_sound(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Listen only where that is asked for."""
    if not cast(WriteDocument.Settings, settings[WriteDocument.name]).speech:
        transcribe = cast(Transcribe.Settings, settings[Transcribe.name])
        audio = cast(Audio.Settings, settings[Audio.name])
        settings = settings | {
            Transcribe.name: transcribe.model_copy(update={"backend": "off"}),
            Audio.name: audio.model_copy(update={"enabled": False}),
        }
    return resolve_subtitles(resolve_speech(settings))


def _resolve_words(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have the document written by who looks at the frames, unless it says otherwise."""
    write = cast(WriteDocument.Settings, settings[WriteDocument.name])
    if write.backend is None:
        analyse = settings[AnalyseFrame.name]
        taken = {name: getattr(analyse, name) for name in TAKEN}
        write = write.model_copy(update=taken)
    return settings | {WriteDocument.name: write}


def _resolve_choice(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have the frames chosen by who looks at them, where a model is to choose."""
    frames = cast(ChosenFrames.Settings, settings[ChosenFrames.name])
    analyse = cast(AnalyseFrame.Settings, settings[AnalyseFrame.name])
    return settings | {ChosenFrames.name: frames.asking(analyse)}


def _resolve_vectors(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Make vectors by what the step that persists would make them by."""
    like = Embedding.Settings.like(cast(StoreSettings, settings[Persist.name]))
    return settings | {EmbedNotes.name: like, EmbedDocument.name: like}


def _resolve_uploads(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Put the frames where the video is put; in a dry run nothing anywhere."""
    upload = cast(Upload.Settings, settings[Upload.name])
    if cast(StoreSettings, settings[Persist.name]).dry_run:
        upload = upload.model_copy(update={"url": None})
    return settings | {Upload.name: upload, UploadFrame.name: UploadFrame.Settings.like(upload)}


recipe = Pipeline(
    name="recipe",
    summary="Short videos in; a structured document of each, such as a recipe, out.",
    steps=[
        Step(Download, after=SOURCE),
        Step(ChosenFrames, after="download"),
        Step(Audio, after="download"),
        *speech_steps("audio", "download"),
        Step(AnalyseFrame, after="frames", inputs={"frame": "frames"}, each="frames"),
        Step(
            WriteDocument,
            after=["frames", "analyse", "transcript"],
            inputs={"frames": "frames", "notes": "analyse", "transcript": "transcript"},
        ),
        Step(EmbedNotes, after="analyse", inputs={"notes": "analyse"}),
        Step(EmbedDocument, after="write", inputs={"document": "write"}),
        Step(UploadFrame, after="frames", inputs={"files": "frames"}, each="frames"),
        Step(Upload, after="download", inputs={"files": "download"}),
        Step(
            Persist,
            after=["write", "embed", "embed_document", "upload", "frame_upload"],
            inputs={
                "scenes": "write",
                "summary": None,
                "upload": "upload",
                "frame_upload": "frame_upload",
            },
        ),
        Step(Publish, after="write", inputs={"records": "write"}),
    ],
    finish=finish,
    finish_item=finish_item,
    forget=forget,
    kept=["replies", "transcripts"],
    news=news,
    sections=sections,
    canonical=canonical_source,
    resolve=_resolve_recipe,
    flags=[
        Flag(
            "--schema",
            "A JSON Schema of the document, in place of a recipe's.",
            {"stages.write.schema_file": None},
            takes="FILE",
        ),
        Flag(
            "--prompt",
            "What the model that writes the document is told to do.",
            {"stages.write.prompt": None},
            takes="TEXT",
        ),
        Flag("--speech", "Listen to what is said, too.", {"stages.write.speech": True}),
        Flag(
            "--dry-run",
            "Do all that is free, and say what the paid calls would take and send, and to whom.",
            {
                "stages.transcribe.dry_run": True,
                "stages.analyse.dry_run": True,
                "stages.write.dry_run": True,
                "stages.persist.dry_run": True,
            },
            once=True,
        ),
        *FETCHING,
    ],
    unit="video",
    takes="URL",
    imports=["numpy"],
    packages=["yt-dlp", "av", "ImageHash", "jsonschema", "Pillow", "numpy", "httpx"],
)
