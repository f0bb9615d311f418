"""The paid server of `penstock demo recipe`, on this machine: it looks, writes, and makes vectors.

What it answers follows from what it is sent: the pixels of a frame, the notes for a recipe, the
words of a text. It writes down what it was asked, so that it is known whether anything was asked
twice.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.demo.answering import data_of, say, send
from stages.demo.recipes.looking import notes_of, recipe_of
from stages.demo.server import Exchange

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

DIMENSIONS = 512
"""So many that two words seldom share one."""

FILLERS = frozenset({"a", "and", "beside", "of", "the"})


class DemoKitchen:
    """The server's routes. `questions` is the file that has a line for each answered question: its
    kind, and what identifies it.

    The recipe of the video called `doubted` does not fit unless it was asked for once more. `same`
    has words of one meaning; of texts that are `unnoted` nothing is written down.
    """

    def __init__(
        self, questions: Path, doubted: str, same: Mapping[str, str], unnoted: Collection[str] = ()
    ) -> None:
        self._questions, self._doubted, self._same = questions, doubted, same
        self._unnoted = unnoted
        self._lock = threading.Lock()

    def chat(self, exchange: Exchange) -> None:
        """Answer a question of analyse, or of write, by OpenAI's protocol."""
        asked = json.loads(exchange.content)
        picture = picture_in(asked)
        if picture is not None:
            kind, told = "frame", notes_of(picture)
        else:
            kind, told = "document", self._recipe(asked)
        self._note(kind, [exchange.content])
        say(exchange, told)

    def _recipe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        data = data_of(asked)
        told = recipe_of(data)
        is_first = all(message["role"] != "assistant" for message in asked["messages"])
        if data["title"] == self._doubted and is_first:
            told["steps"][-1]["end"] = data["length"] + 600
        return told

    def embed(self, exchange: Exchange) -> None:
        """Answer a question for vectors, by OpenAI's protocol."""
        texts = json.loads(exchange.content)["input"]
        self._note("text", [text.encode() for text in texts if text not in self._unnoted])
        vectors = [self.vector_of(text) for text in texts]
        data = [{"index": number, "embedding": one} for number, one in enumerate(vectors)]
        send(exchange, {"data": data, "usage": {"total_tokens": 10 * len(texts)}})

    def vector_of(self, text: str) -> list[float]:
        """A place for each word in it, in the singular; words of one meaning share one."""
        vector = [0.0] * DIMENSIONS
        for word in re.findall(r"[a-z]+", text.lower()):
            if word not in FILLERS:
                meant = self._same.get(word, word).removesuffix("s")
                digest = hashlib.sha256(meant.encode()).digest()
                vector[int.from_bytes(digest[:4], "big") % DIMENSIONS] = 1.0
        return vector if any(vector) else [1.0] * DIMENSIONS

    def _note(self, kind: str, contents: Sequence[bytes]) -> None:
        lines = [f"{kind} {hashlib.sha256(content).hexdigest()[:16]}\n" for content in contents]
        with self._lock, self._questions.open("a", encoding="utf-8") as file:
            file.writelines(lines)


def picture_in(asked: Mapping[str, Any]) -> bytes | None:
    """The picture that is asked about; None for a question without one."""
    for message in asked["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image_url":
                return base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return None
