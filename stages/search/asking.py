"""From a database's vectors to an embedder like the one that made them, and to a ranking."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine import PenstockError
from stages.search.api_embedder import ApiEmbedder
from stages.search.embedding import API_URL, Embedder, NoMeaning
from stages.search.local_embedder import LocalEmbedder
from stages.search.meaning import ByMeaning, latest_model
from stages.search.searching import Ranker

MadeBy = Mapping[str, Any]
"""How a database says that its vectors were made."""


class RankedByMeaning(NamedTuple):
    """The rankings by meaning, and why there is none though the database has vectors."""

    rankers: Sequence[Ranker] = ()
    problem: str | None = None


def embedder_of(made_by: Mapping[str, Any], *, trusted: bool) -> Embedder:
    """An embedder like the one that made the vectors of a database, to ask it a question.

    The database may be from elsewhere: nothing is fetched for it, and unless it is `trusted` the
    question and a key go to the public server alone. Raises NoMeaning.
    """
    if made_by["backend"] == "local":
        return LocalEmbedder(made_by["model"], made_by["revision"], fetch=False)
    if made_by["base_url"] != API_URL and not trusted:
        raise NoMeaning(
            f"its vectors were made by {made_by['base_url']}; --trust sends the question there"
        )
    return ApiEmbedder(made_by["model"], made_by["base_url"], made_by["api_key_env"])


def by_meaning(
    db: sqlite3.Connection, words: str, find_embedder: Callable[[MadeBy], Embedder]
) -> RankedByMeaning:
    """The ranking by meaning, where the database has vectors and what made them is here. The words
    are embedded."""
    latest = latest_model(db)
    if latest is None:
        return RankedByMeaning()
    try:
        return RankedByMeaning((ByMeaning(db, same_model(latest, find_embedder), words),))
    except PenstockError as error:
        return RankedByMeaning(problem=str(error))


def same_model(latest: tuple[str, MadeBy], find_embedder: Callable[[MadeBy], Embedder]) -> Embedder:
    """The model of that name, which made a database's vectors. Raises NoMeaning where what is here
    is another one."""
    name, made_by = latest
    embedder = find_embedder(made_by)
    if embedder.name != name:
        raise NoMeaning(f"its vectors were made by {name}, and here is {embedder.name}")
    return embedder
