"""From a database's vectors to an embedder like the one that made them."""

from collections.abc import Mapping
from typing import Any

from stages.search.api_embedder import ApiEmbedder
from stages.search.embedding import API_URL, Embedder, NoMeaning
from stages.search.local_embedder import LocalEmbedder


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
