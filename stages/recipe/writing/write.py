"""The write stage: the document of a video, by a JSON Schema.

It writes `document.json` (see `Written`), `document.md`, the frames' pictures, and `scenes.jsonl`:
the document as records that sinks take.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from anyio.to_thread import run_sync
from pydantic import field_validator

from engine import Item, Permanent, setting, writable
from stages.calls.errors import WouldAsk
from stages.files.folders import carry_info, link_or_copy
from stages.files.json_lines import write_lines
from stages.persistence.records import DOCUMENT, SCENES
from stages.recipe.writing.composed import NO_MODEL, compose_document
from stages.recipe.writing.markdown import as_markdown
from stages.recipe.writing.material import Material, read_material
from stages.recipe.writing.recipe_schema import DOCUMENT_PROMPT, RECIPE, RECIPE_PROMPT
from stages.recipe.writing.rows import picture_name, rows_of
from stages.recipe.writing.schema import check_installed, is_strict, problems_of, read_schema
from stages.vision.api import FormQuestion, SchemaQuestion, Subject
from stages.vision.asking import OBJECTION
from stages.vision.connection import IMAGE_TOKENS, model_of
from stages.vision.counts import write_counts
from stages.vision.forms import UnfitAnswer, read_object
from stages.vision.instructions import RULES, data_block
from stages.vision.words_settings import Backend, WordsSettings, made_by
from stages.vision.words_stage import WordsStage

PAGE = "document.md"
COMPOSED = "composed"
"""The `made_by` of a document that no model wrote."""

LONGEST_PROMPT = 20_000

_ASKS = "Answer with one JSON object that fits this JSON Schema, and nothing besides:"


@dataclass(frozen=True, slots=True)
class Written:
    """What document.json holds: the document, by the schema unless it is `partial`; what is amiss
    then; the seconds of the frames, and of those without notes; who wrote it."""

    document: Mapping[str, Any]
    partial: bool
    problems: tuple[str, ...]
    length: float
    frames: tuple[float, ...]
    gaps: tuple[float, ...]
    made_by: str


class WriteDocument(WordsStage):
    """Write the document of a video from the notes of its frames, and from what is said.

    Of `frames` it reads frames.json, info.json and the parts' pictures, of `notes` each
    notes.json, of `transcript`, where there is one, transcript.json. An answer that does not fit
    the schema is asked for once more, with what is wrong; if it still does not, it is partial.
    """

    name = "write"
    inputs = ("frames", "notes")
    optional_inputs = "transcript"
    defaults: ClassVar[dict[str, Any]] = {**WordsStage.defaults, "workers": 8, "optional": False}

    class Settings(WordsSettings):
        backend: Backend | None = setting(  # type: ignore[assignment]
            None,
            'Who writes: "found" (nobody: what is known without a model), "openai" or "gemini"; '
            "none: who looks at the frames.",
        )
        prompt: str = setting("", "What the model is told to do; empty: what suits the form.")
        schema_file: str | None = setting(
            None,
            "The JSON Schema of the document, a file; none: that of a recipe.",
            in_ingredients=True,
            needs_trust=True,
            example="how-to.json",
        )
        speech: bool = setting(False, "Whether what is said is listened to, and told.")
        max_tokens: int = setting(4000, "Tokens that the document may take, at most.", gt=0)

        @field_validator("prompt")
        @classmethod
        def _a_prompt(cls, value: str) -> str:
            if value != writable(value) or "\0" in value:
                raise ValueError("a prompt is text: it holds what is none")
            if len(value) > LONGEST_PROMPT:
                raise ValueError(f"a prompt has {LONGEST_PROMPT:,} characters at most")
            return value.strip()

    settings: "WriteDocument.Settings"

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The schema, as it is when the run begins. Raises UsageError where it cannot be used."""
        check_installed()
        if self.settings.schema_file is None:
            return {}
        return {"schema": read_schema(Path(self.settings.schema_file).expanduser())}

    @property
    def schema(self) -> Mapping[str, Any]:
        """The form of the document."""
        if self.settings.schema_file is None:
            return RECIPE
        found: Mapping[str, Any] = (self.ingredients or self.find_ingredients(None))["schema"]
        return found

    def question(self) -> FormQuestion:
        settings, schema = self.settings, self.schema
        usual = RECIPE_PROMPT if settings.schema_file is None else DOCUMENT_PROMPT
        form = json.dumps(schema, ensure_ascii=False)
        return SchemaQuestion(
            model=model_of(settings),
            prompt=f"{settings.prompt or usual}\n\n{RULES}\n\n{_ASKS} {form}",
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            detail=settings.detail,
            schema=schema,
            strict=is_strict(schema),
        )

    def expected_tokens(self) -> float:
        return IMAGE_TOKENS

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.ask` does, but where the model refuses: then the document is partial.
        With `dry_run` it writes counts, and a document only where the answer is kept."""
        material = await run_sync(read_material, item)
        if self.asker is None:
            written = self._composed(material, NO_MODEL)
        else:
            subject = Subject(data=data_block(material.told()))
            try:
                written = await self._asked(subject, material)
            except WouldAsk as would:
                await run_sync(write_counts, out, [self.count(would.question)])
                await run_sync(_expect_row, out)
                return
            if self.settings.dry_run:
                await run_sync(write_counts, out, [self.count(subject)])
        await run_sync(_save, out, item.input("frames"), written, material)

    async def _asked(self, subject: Subject, material: Material) -> Written:
        """The document that the model wrote, in its second answer if the first did not fit; of two
        that do not fit, the one with less amiss."""
        assert self.asker is not None
        found: list[tuple[Any, list[str]]] = []
        asked = subject
        try:
            for _ in range(2):
                answer = await self.asker.ask(asked)
                document, problems = self._read(answer, material)
                found.append((document, problems))
                if not problems:
                    break
                why = "; ".join(problems)
                asked = replace(subject, before=(answer, OBJECTION.format(why=why)))
        except Permanent as refused:
            if not found:
                return self._composed(material, refused.reason)
            found[-1][1].append(f"asked once more: {refused.reason}")
        usable = [one for one in found if isinstance(one[0], dict)]
        if not usable:
            return self._composed(material, "; ".join(found[-1][1]))
        document, problems = min(usable, key=lambda one: len(one[1]))
        return self._written(document, problems, material, made_by(self.settings))

    def _read(self, answer: str, material: Material) -> tuple[Any, list[str]]:
        try:
            document = read_object(answer)
        except UnfitAnswer as why:
            return None, [str(why)]
        return document, problems_of(self.schema, document, material.length)

    def _composed(self, material: Material, why: str) -> Written:
        document = compose_document(self.schema, material)
        problems = problems_of(self.schema, document, material.length)
        return self._written(document, [why, *problems], material, COMPOSED)

    def _written(
        self, document: Mapping[str, Any], problems: list[str], material: Material, by: str
    ) -> Written:
        return Written(
            document=document,
            partial=bool(problems),
            problems=tuple(problems),
            length=material.length,
            frames=tuple(one.at for one in material.frames),
            gaps=tuple(material.missing),
            made_by=by,
        )


def _expect_row(out: Path) -> None:
    """A row without words, for whoever counts what would be made of the document."""
    write_lines(out / SCENES, [{"index": 0, "start": 0.0, "end": 0.0}])


def _save(out: Path, frames: Path, written: Written, material: Material) -> None:
    told = json.dumps(asdict(written), indent=2, ensure_ascii=False)
    (out / DOCUMENT).write_text(f"{writable(told)}\n", "utf-8")
    notes = [f"Partial: {one}" for one in written.problems]
    notes += [f"Nobody looked at the frame at {at:g} s: the call failed" for at in written.gaps]
    (out / PAGE).write_text(writable(as_markdown(written.document, notes)), "utf-8")
    (out / "frames").mkdir()
    for number, frame in enumerate(material.frames):
        link_or_copy(frame.picture, out / picture_name(number))
    write_lines(out / SCENES, rows_of(written.document, material))
    carry_info(frames, out)
