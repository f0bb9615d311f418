"""`penstock search`: the scenes in which something is said, seen, heard or described."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from engine import PenstockError, UsageError
from stages.persistence.records import DOCUMENTS, WRITE
from stages.persistence.store import DATABASE
from stages.scenes.collect import Collect
from stages.scenes.results import RESULTS
from stages.search.query import PLACE_OF, PLACES
from stages.sinks.texts import MARKS

if TYPE_CHECKING:
    from stages.search.embedding import Embedder
    from stages.search.postgres_scenes import AskedOnce, PostgresScenes
    from stages.search.searching import Hit, Ranker, SearchQuestion

BOLD, NORMAL = "\x1b[1m", "\x1b[0m"


@click.command
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--in",
    "places",
    type=click.Choice(list(PLACES)),
    multiple=True,
    help="Only in what was said, seen, heard or described; may be given again.",
)
@click.option("--video", metavar="VIDEO", help="Only in this one: its id, address, file or title.")
@click.option(
    "--after", metavar="TIME", help="Only in scenes that end after it: 90, 1:30, 1:02:30."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--words-only", is_flag=True, help="By words alone, and not by meaning.")
@click.option(
    "--trust",
    "trusted",
    is_flag=True,
    help="Send the question, and the key, to the server that the database names.",
)
@click.option(
    "--postgres",
    metavar="VARIABLE",
    help="In a Postgres database: the environment variable that holds its URL, such as "
    "DATABASE_URL.",
)
@click.option(
    "--schema", metavar="NAME", default="penstock", show_default=True, help="The schema there."
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def search(
    folder: Path,
    words: tuple[str, ...],
    places: tuple[str, ...],
    video: str | None,
    after: str | None,
    limit: int,
    words_only: bool,
    trusted: bool,
    postgres: str | None,
    schema: str,
    as_json: bool,
) -> None:
    """Find scenes of a work folder DIR by WORDS, and by what these mean; also during the run.

    Of a recipe run it finds the entries of documents, and their frames. Any of the words will do,
    in any form (chop, chops, chopped); "words in quotes" stand together.
    Where the run has made vectors (see stages.persist.meaning), scenes are found by meaning, too.
    Scenes next to each other are one answer. DIR may also be an SQLite file that several work
    folders share.
    """
    from stages.search.searching import SearchQuestion

    question = SearchQuestion(
        words=" ".join(words),
        columns=tuple(PLACES[place] for place in dict.fromkeys(places)),
        after=seconds_of(after) if after is not None else 0.0,
    )
    asked = AskedScenes(folder, question, video, limit, words_only, trusted)
    hits = asked.in_sqlite() if postgres is None else asked.in_postgres(postgres, schema)
    if as_json:
        click.echo(json.dumps([as_dict(hit, folder) for hit in hits], indent=2))
        return
    for hit in hits:
        click.echo(as_text(hit, folder))
    if not hits:
        click.echo("penstock: nothing was found", err=True)


@dataclass(frozen=True)
class AskedScenes:
    """A question as a person asks it of a work folder."""

    folder: Path
    question: "SearchQuestion"
    video: str | None
    limit: int
    words_only: bool
    trusted: bool

    def in_sqlite(self) -> "list[Hit]":
        """The answers from the folder's own database."""
        from stages.search.asking import by_meaning
        from stages.search.searching import search
        from stages.sinks.sqlite_file import opened_to_read

        with opened_to_read(database_of(self.folder)) as db:
            documents = db.execute("SELECT id, document FROM videos") if self.video else ()
            question = self._of_video({id_: json.loads(text) for id_, text in documents})
            rankers: Sequence[Ranker] = ()
            if not self.words_only:
                meaning = by_meaning(db, question.words, self._embedder)
                _tell(meaning.problem)
                rankers = meaning.rankers
            return search(db, question, self.limit, rankers)

    def in_postgres(self, variable: str, schema: str) -> "list[Hit]":
        """The answers from what a Postgres sink holds. Raises UsageError where it cannot be
        read."""
        from stages.search.asking import by_meaning
        from stages.search.postgres_scenes import PostgresScenes
        from stages.search.searching import search
        from stages.sinks.sqlite_file import opened_to_read

        with (
            closing(PostgresScenes(variable, schema)) as scenes,
            TemporaryDirectory(prefix="penstock-search-") as temporary,
        ):
            question = self._of_video(scenes.documents() if self.video else {})
            asked = None if self.words_only else self._asked_of(scenes, question.words)
            copy = Path(temporary) / DATABASE
            scenes.copy(question, asked, copy)
            with opened_to_read(copy) as db:
                found = by_meaning(db, question.words, lambda _: asked) if asked else None
                return search(db, question, self.limit, found.rankers if found else ())

    def _asked_of(self, scenes: "PostgresScenes", words: str) -> "AskedOnce | None":
        """What made the vectors there, asked for the question's; None where it cannot be, and the
        reason is told."""
        from stages.search.asking import same_model
        from stages.search.postgres_scenes import AskedOnce

        latest = scenes.latest_model()
        if latest is None:
            return None
        try:
            return AskedOnce(same_model(latest, self._embedder), words)
        except PenstockError as error:
            _tell(str(error))
            return None

    def _of_video(self, known: Mapping[str, Mapping[str, Any]]) -> "SearchQuestion":
        if self.video is None:
            return self.question
        return replace(self.question, video=find_video(known, self.video, self.folder))

    def _embedder(self, made_by: Mapping[str, Any]) -> "Embedder":
        from stages.search.asking import embedder_of

        return embedder_of(made_by, trusted=self.trusted)


def _tell(problem: str | None) -> None:
    """Say why there is no ranking by meaning, if there could be one."""
    if problem is not None:
        click.echo(f"penstock: by words alone: {problem}", err=True)


def database_of(folder: Path) -> Path:
    """The SQLite file of a work folder, or the one that is named itself. Raises UsageError."""
    if folder.is_file():
        return folder
    if not folder.is_dir():
        raise UsageError(f"{folder} is not there; give the folder that a run wrote")
    if not (folder / DATABASE).is_file():
        raise UsageError(
            f"{folder} has no {DATABASE} to search: either no video is finished yet, or "
            "stages.persist.database says where it is; then give that file; what is in Postgres "
            "is searched with --postgres DATABASE_URL"
        )
    return folder / DATABASE


def find_video(known: Mapping[str, Mapping[str, Any]], name: str, folder: Path) -> str:
    """The id of the video that a person calls `name`, by its id, address, file or the name of that,
    or title, among the documents that are known. Raises UsageError where there is none, or several
    are called so."""
    if name in known:
        return name
    if (by_source := _id_of(name)) in known:
        return by_source
    called = [
        id_
        for id_, document in known.items()
        if name in (document.get("source"), document.get("webpage_url"), document.get("title"))
        or name == PurePosixPath(document.get("source") or "").name
    ]
    if len(called) == 1:
        return called[0]
    if called:
        raise UsageError(f"{len(called)} videos are called {name!r}: {', '.join(sorted(called))}")
    titles = (document.get("title") for document in known.values())
    near = get_close_matches(name, [*known, *filter(None, titles)], 1)
    meant = f"; did you mean {near[0]!r}?" if near else "; see videos.jsonl in its scenes folder"
    raise UsageError(f"{folder} has no video {name!r}{meant}")


def _id_of(source: str) -> str:
    """The id of the item for what a person types as its source; "" where it can be none."""
    from engine import Item
    from stages.net.addresses import canonical_source

    try:
        return Item.at(Path(), canonical_source(source)).id
    except (UsageError, ValueError):
        return ""


def seconds_of(time: str) -> float:
    """Seconds in "90", "1:30" or "1:02:30.5". Raises UsageError."""
    if not re.fullmatch(r"(\d{1,4}:)?(\d{1,4}:)?\d{1,9}(\.\d{1,9})?", time, re.ASCII):
        raise UsageError(f"--after {time}: write seconds, or a time like 1:30 or 1:02:30")
    seconds = 0.0
    for figure in time.split(":"):
        seconds = seconds * 60 + float(figure)
    return seconds


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: "1:02:30", "2:05"."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def as_text(hit: "Hit", folder: Path) -> str:
    """The answer in two lines: video, scenes, time, and what was found there; the thumbnail."""
    first, last = hit.first + 1, hit.last + 1  # a person counts from one, as on the page
    scenes = str(first) if first == last else f"{first}-{last}"
    label = hit.record.get("label")  # what documents call their entries: "steps 3"
    place = _printable(label) if isinstance(label, str) else f"scene {scenes}"
    # Text from elsewhere must not steer the terminal; the marks do.
    snippet = _printable(hit.snippet).replace(MARKS[0], BOLD).replace(MARKS[1], NORMAL)
    thumbnail = thumbnail_of(hit, folder)
    line = f"{hit.video}  {place}  {clock(hit.time)}  {PLACE_OF[hit.column]}: {snippet}"
    return f"{line}\n    {thumbnail}" if thumbnail else line


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() or one in MARKS else " " for one in text)


def as_dict(hit: "Hit", folder: Path) -> dict[str, Any]:
    """The answer for machines. Times are seconds of the video."""
    from stages.search.snippet import plain

    thumbnail = thumbnail_of(hit, folder)
    return {
        "video": hit.video,
        "title": hit.document.get("title"),
        "source": hit.document.get("source"),
        "scene": hit.scene,
        "label": hit.record.get("label"),
        "scenes": [hit.first, hit.last],
        "start": hit.start,
        "end": hit.end,
        "time": hit.time,
        "in": PLACE_OF[hit.column],
        "snippet": plain(hit.snippet),
        "thumbnail": str(thumbnail) if thumbnail else None,
        "score": round(hit.score, 6),
    }


def thumbnail_of(hit: "Hit", folder: Path) -> Path | None:
    """The picture of the best scene: in the results of the last run, or, while a run goes on, in
    the video's own folder; None where it is in neither."""
    name = hit.record.get("thumbnail")
    if not isinstance(name, str):
        return None
    work = folder.parent if folder.is_file() else folder
    inside = name.removeprefix(f"{hit.video}/")
    made = work / "items" / hit.video
    places = (
        *(work / folder / name for folder in (RESULTS, DOCUMENTS)),
        *(made / step / inside for step in (Collect.name, WRITE)),
    )
    return next((place for place in places if place.is_file()), None)
