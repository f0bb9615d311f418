"""Vectors by a sentence model on this machine, through transformers."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import UsageError
from stages.models.content import content_hash
from stages.models.pretrained import loading_alone
from stages.search.embedding import Embedded, NoMeaning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 32
"""Texts that the model takes together."""

PIECE = 256
"""Texts after which vectors are handed over."""

LONGEST = 256
"""Tokens of a text that count: what the usual models were trained with."""

WEIGHTS = "model.safetensors"

SWITCH_OFF = 'or set stages.persist.meaning to "off"'


class LocalEmbedder:
    """A sentence model, a folder or a name at Hugging Face: the mean of its last layer.

    It is loaded on first use, by safetensors alone and without code from elsewhere.
    """

    def __init__(self, model: str, revision: str | None, *, fetch: bool) -> None:
        """Raises NoMeaning where the extra is missing, or the model is not on this machine and may
        not be fetched."""
        if find_spec("transformers") is None:
            raise NoMeaning(
                "searching by meaning needs transformers: pip install 'penstock[search]', "
                f"{SWITCH_OFF}"
            )
        self._folder = Path(model).expanduser()
        self._is_folder = self._folder.is_dir()
        self._source = str(self._folder) if self._is_folder else model
        self._revision = None if self._is_folder else revision
        self._fetch = fetch and not self._is_folder
        self.made_by: Mapping[str, Any] = {
            "backend": "local",
            "model": self._source,
            "revision": revision,
        }
        if self._is_folder:
            self.name = f"{self._folder.name} {self._hash_of_weights()[:16]}"
        else:
            self.name = f"{model}@{revision}" if revision else model
            if not fetch:
                self._check_that_it_is_here()

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        for first in range(0, len(texts), PIECE):
            piece = texts[first : first + PIECE]
            yield Embedded(piece, self._vectors(piece))

    def drain(self) -> None:
        """Nothing is paid: what was begun is made."""

    def close(self) -> None:
        """It holds nothing of a run: a loaded model is kept."""

    def load(self) -> None:
        """Load the model now. Raises NoMeaning where it cannot be loaded."""
        _ = self._model

    def _vectors(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        import numpy as np

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        made: list[NDArray[np.float32] | None] = [None] * len(texts)
        for first in range(0, len(order), AT_ONCE):
            places = order[first : first + AT_ONCE]
            for place, vector in zip(
                places, self._batch([texts[place] for place in places]), strict=True
            ):
                made[place] = vector
        return np.stack([vector for vector in made if vector is not None])

    def _batch(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        import torch

        tokenizer, model = self._model
        tokens = tokenizer(
            list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            whole = torch.nn.functional.normalize(mean, dim=1)
        vectors: NDArray[np.float32] = whole.float().numpy()
        return vectors

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        options: dict[str, Any] = {"local_files_only": not self._fetch}
        if self._revision:
            options["revision"] = self._revision
        try:
            with loading_alone() as transformers:
                tokenizer = transformers.AutoTokenizer.from_pretrained(self._source, **options)
                model = transformers.AutoModel.from_pretrained(
                    self._source, use_safetensors=True, **options
                )
        except (OSError, ValueError) as error:
            told = " ".join(str(error).split())[:300]
            raise NoMeaning(
                f"the sentence model {self._source} cannot be loaded: {told}; name another folder "
                f"or model in stages.persist.model, {SWITCH_OFF}"
            ) from error
        return tokenizer, model.eval()

    def _hash_of_weights(self) -> str:
        weights = self._folder / WEIGHTS
        if not weights.is_file():
            raise NoMeaning(f"{self._folder} has no {WEIGHTS}: it is no model for searching")
        try:
            return content_hash(weights)
        except UsageError as error:
            raise NoMeaning(f"{weights} cannot be read; make it readable") from error

    def _check_that_it_is_here(self) -> None:
        from huggingface_hub import try_to_load_from_cache

        try:
            found = try_to_load_from_cache(self._source, WEIGHTS, revision=self._revision)
        except ValueError:  # no name of a model, such as a folder that is not there
            found = None
        if not isinstance(found, str):
            raise NoMeaning(
                f"the sentence model {self._source} is not on this machine; set "
                'stages.persist.meaning to "local" and a run fetches it, or name a folder in '
                "stages.persist.model"
            )
