"""The sinks that are set, and what makes vectors for them: everything that a video is put into."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import engine
from engine import ConfigError, setting
from stages.calls.sent_calls import SentCalls
from stages.persistence.vectors import KeptVectors
from stages.persistence.written import WrittenHere
from stages.search.api_embedder import ApiEmbedder, api_name, batches, cut
from stages.search.embedding import (
    API_KEY,
    API_MODEL,
    API_URL,
    LOCAL_MODEL,
    LOCAL_REVISION,
    Embedder,
    NoMeaning,
)
from stages.search.embedding_limits import EmbeddingLimits
from stages.search.local_embedder import LocalEmbedder
from stages.sinks.cosmos import CosmosSink
from stages.sinks.parquet import ParquetSink
from stages.sinks.postgres import PostgresSink
from stages.sinks.sink import Sink, VideoRecords, WrittenVideo
from stages.sinks.sqlite import SqliteSink
from stages.sinks.texts import texts_of

DATABASE = "search.db"
PARQUET = "parquet"

SinkName = Literal["sqlite", "parquet", "cosmos", "postgres"]

WITH_VECTORS: tuple[SinkName, ...] = ("sqlite", "postgres")
"""Those that keep vectors; what is paid for is kept on this machine first."""

DESCRIBED_BYTES = 400
"""Of a description that is still to come, about."""

LOCAL_SINKS: Mapping[SinkName, str] = {"sqlite": DATABASE, "parquet": PARQUET}
"""Where the sinks are that lie in the work folder, unless a setting says otherwise."""


class SinkSettings(engine.Settings):
    """Where records and vectors go, and who makes the vectors."""

    sinks: tuple[SinkName, ...] = setting(
        ("sqlite",),
        'Where records go: "sqlite", which `penstock search` asks, "parquet", "cosmos", '
        '"postgres".',
    )
    database: str | None = setting(
        None,
        "The SQLite file; none: search.db in the work folder. Several folders may share one.",
        needs_trust=True,
        example="/data/search.db",
    )
    parquet: str | None = setting(
        None,
        "The folder of the Parquet files; none: parquet in the work folder.",
        needs_trust=True,
        example="/data/scenes",
    )
    cosmos_url: str | None = setting(
        None,
        "The address of an Azure Cosmos DB account.",
        needs_trust=True,
        example="https://mine.documents.azure.com:443/",
    )
    cosmos_database: str = setting("penstock", "The database there, made if it is missing.")
    cosmos_container: str = setting("scenes", "The container in it, made if it is missing.")
    cosmos_key_env: str = setting(
        "COSMOS_KEY",
        "The environment variable that holds the account's key.",
        affects_output=False,
        needs_trust=True,
    )
    postgres_url_env: str = setting(
        "DATABASE_URL",
        "The environment variable that holds the connection URL of a Postgres database.",
        affects_output=False,
        needs_trust=True,
    )
    postgres_schema: str = setting(
        "penstock",
        "The schema in it, made if it is missing.",
        affects_output=False,
        pattern="^[a-z_][a-z0-9_]{0,62}$",
    )
    meaning: Literal["auto", "off", "local", "api"] = setting(
        "auto",
        'Vectors for searching by meaning: by a model on this machine ("local"; "auto" where it is '
        'here already), or an API\'s ("api").',
        in_ingredients=True,
    )
    model: str | None = setting(
        None,
        f"The model's folder or name; none: {LOCAL_MODEL}, or {API_MODEL} of an API.",
        in_ingredients=True,
        needs_trust=True,
        example="models/all-MiniLM-L6-v2",
    )
    revision: str | None = setting(
        None,
        "The commit of a local model that is a name; none: a tested one of the default model.",
        in_ingredients=True,
        needs_trust=True,
        example="e4ce9877abf3edfe10b0d82785e83bdcb973e22e",
    )
    dry_run: bool = setting(
        False,
        "Put nothing anywhere; count the texts that an API would be sent for vectors.",
        in_ingredients=True,
    )
    base_url: str = setting(
        API_URL,
        "The API's address; /embeddings follows.",
        in_ingredients=True,
        needs_trust=True,
    )
    api_key_env: str = setting(
        API_KEY,
        "The environment variable that holds the API's key.",
        affects_output=False,
        needs_trust=True,
    )


class StoreSettings(EmbeddingLimits, SinkSettings):
    """Those of the sinks, and how an API is asked for vectors."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """What a dry run counts: calls to `host` with texts for vectors."""

    host: str
    calls: int = 0
    texts: int = 0
    bytes: int = 0

    def __add__(self, other: "Vectors") -> "Vectors":
        return Vectors(
            other.host,
            self.calls + other.calls,
            self.texts + other.texts,
            self.bytes + other.bytes,
        )


class Store:
    """The sinks, open until `close`, and the vectors in them, if any."""

    def __init__(self, settings: StoreSettings, workdir: Path, embedder: Embedder | None) -> None:
        """Raises UsageError where a sink cannot be used."""
        self._opened = ExitStack()
        self._vectors: KeptVectors | None = None
        sinks: dict[str, Sink] = {}
        keeping: dict[SinkName, SqliteSink | PostgresSink] = {}
        with ExitStack() as opening:
            for name in dict.fromkeys(settings.sinks):
                if name == "cosmos":
                    sinks[name] = opening.enter_context(_cosmos(settings))
                elif name == "parquet":
                    folder = _place(settings.parquet, workdir / PARQUET)
                    sinks[name] = opening.enter_context(ParquetSink(folder))
                elif name == "postgres":
                    database = _postgres(settings, vectors=embedder is not None)
                    sinks[name] = keeping[name] = opening.enter_context(database)
                else:
                    file = SqliteSink(_place(settings.database, workdir / DATABASE))
                    sinks[name] = keeping[name] = opening.enter_context(file)
            self._keeping = [keeping[name] for name in WITH_VECTORS if name in keeping]
            if embedder is not None and self._keeping:
                vectors = KeptVectors(embedder, self._keeping, self._keeping[0].place)
                self._vectors = opening.enter_context(closing(vectors))
            self._opened = opening.pop_all()
        self.sinks: Mapping[str, Sink] = sinks
        places = {"sqlite": settings.database, "parquet": settings.parquet}
        self.shared = [name for name in sinks if name not in places or places[name] is not None]
        """The sinks that do not lie in the work folder: others may write there too."""
        self.written = WrittenHere(workdir)

    def drain(self) -> None:
        """As `KeptVectors.drain` has it; what is written is not touched."""
        if self._vectors is not None:
            self._vectors.drain()

    def close(self) -> None:
        self._opened.close()

    def write(self, records: VideoRecords) -> None:
        """Put the video into every sink."""
        for name, sink in self.sinks.items():
            self.write_to(name, records, sink.begin())

    def write_to(self, name: str, records: VideoRecords, turn: int) -> bool:
        """Put the video into one sink; with vectors of its texts, where it takes them, which are
        made meanwhile. A text that has one already is not embedded again. Returns whether it is
        there: not where the sink has it of a later turn."""
        sink, stands = self.sinks[name], False
        if name in self.shared:
            self.written.note(name, records.video, WrittenVideo(records.generation, turn))

        def write() -> None:
            nonlocal stands
            stands = sink.write(records, turn)

        if sink in self._keeping:
            self.embed(embedded_texts(records.scenes), meanwhile=write)
        else:
            write()
        return stands

    def embed(self, texts: Sequence[str], meanwhile: Callable[[], None] = lambda: None) -> int:
        """As `KeptVectors.make` does it; nothing where no vectors are made."""
        if self._vectors is None:
            meanwhile()
            return 0
        return self._vectors.make(texts, meanwhile)


def embedded_texts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The texts of these records that vectors are made of."""
    return [text for row in rows for text in texts_of(row).values() if text]


def expected_vectors(
    settings: StoreSettings, workdir: Path, texts: Sequence[str], to_come: int = 0
) -> Vectors:
    """What an API would be sent: these texts, but for those that have a vector, and so many that
    are still to come."""
    host = urlsplit(settings.base_url).netloc
    if settings.meaning != "api" or not keeps_vectors(settings):
        return Vectors(host)
    file = _place(settings.database, workdir / DATABASE)
    if "sqlite" in settings.sinks and file.is_file():
        with SqliteSink(file) as database:
            name = api_name(settings.model or API_MODEL, settings.base_url)
            texts = database.without_vector(name, texts)
    texts = list(dict.fromkeys(texts))
    requests = batches([cut(text) for text in texts], settings.tokens_per_minute)
    return Vectors(
        host,
        calls=len(list(requests)) or min(1, to_come),
        texts=len(texts) + to_come,
        bytes=sum(len(cut(text).encode()) for text in texts) + to_come * DESCRIBED_BYTES,
    )


def keeps_vectors(settings: StoreSettings) -> bool:
    """Whether any of the sinks that are set keeps vectors."""
    return not set(WITH_VECTORS).isdisjoint(settings.sinks)


def searched_file(settings: StoreSettings, workdir: Path) -> Path | None:
    """The SQLite file that `penstock search` asks; None where no such sink is set."""
    return _place(settings.database, workdir / DATABASE) if "sqlite" in settings.sinks else None


def find_embedder(
    settings: StoreSettings, calls: SentCalls | None = None, workdir: Path | None = None
) -> Embedder | None:
    """The embedder that is set; None where there is to be none, or, with "auto", none is here. An
    API's requests are counted in `calls`, those of a day in `workdir`. Raises NoMeaning where one
    is asked for by name and is not to be had."""
    if settings.meaning == "off" or not keeps_vectors(settings):
        return None
    if settings.meaning == "api":
        return ApiEmbedder(
            settings.model or API_MODEL,
            settings.base_url,
            settings.api_key_env,
            calls,
            settings,
            workdir,
        )
    revision = settings.revision or (LOCAL_REVISION if settings.model is None else None)
    try:
        return LocalEmbedder(
            settings.model or LOCAL_MODEL, revision, fetch=settings.meaning == "local"
        )
    except NoMeaning:
        if settings.meaning == "local" or settings.model is not None:
            raise
        return None


def _postgres(settings: StoreSettings, *, vectors: bool) -> PostgresSink:
    return PostgresSink(settings.postgres_url_env, settings.postgres_schema, vectors=vectors)


def _cosmos(settings: StoreSettings) -> CosmosSink:
    if settings.cosmos_url is None:
        raise ConfigError(
            'stages.persist.sinks has "cosmos", so stages.persist.cosmos_url has to name an account'
        )
    return CosmosSink(
        settings.cosmos_url,
        settings.cosmos_key_env,
        settings.cosmos_database,
        settings.cosmos_container,
    )


def _place(given: str | None, default: Path) -> Path:
    return default if given is None else Path(given).expanduser()
