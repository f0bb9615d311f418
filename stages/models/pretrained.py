"""Models of transformers, from a folder or the Hugging Face hub: weights as safetensors alone, of a
pinned revision, and never with code of their own."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine import UsageError
from stages.models.content import content_hash
from stages.models.hub import reach_hub
from stages.models.loading import told_by, uncollected
from stages.models.yolo import PATIENCE, import_torchvision

FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
"""What is fetched of a model: weights as safetensors, its tokenizer, how inputs are prepared."""


_one_at_a_time = threading.RLock()
"""Two steps open their models side by side. While transformers is imported it puts another module
in its place, so that a second thread may get the empty first one, and while it loads a model it
changes torch's default type for all threads."""


def import_transformers() -> Any:
    """The module `transformers`: quiet, and sending nothing about its use.

    The import takes seconds. Its models of pictures need torchvision, whatever its build.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with _one_at_a_time, uncollected():
        import_torchvision()
        import transformers
        from transformers.utils import logging as told

        told.set_verbosity_error()
        told.disable_progress_bar()
    return transformers


@contextmanager
def loading_alone() -> Iterator[Any]:
    """transformers, for a block in which no other thread of this process loads a model by it."""
    with _one_at_a_time, uncollected():
        yield import_transformers()


def find_pretrained(model: str, revision: str, step: str) -> Path:
    """The folder with the model's files: `model` itself, or what the hub has under that name.

    What is not on this machine yet is fetched. Raises UsageError, with what to do about it, where
    it cannot be, where there are no safetensors, or where transformers is missing.
    """
    remedy = f'or set stages.{step}.model = "" to do without {step}'
    if find_spec("transformers") is None:
        raise UsageError(
            f"{step} takes the Python package transformers, which is not installed; "
            f"pip install 'penstock[scenes]', {remedy}"
        )
    folder = Path(os.path.expanduser(model))  # noqa: PTH111 - never raises
    if not folder.is_dir():
        folder = _on_the_hub(model, revision, step, remedy)
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"the model {model} of {step} has no .safetensors in {folder}, and other formats may "
            f"run code when they are read; save it again by transformers' save_pretrained, {remedy}"
        )
    return folder


def locate_pretrained(model: str, revision: str) -> Path | None:
    """The folder with the model's files, if it is on this machine already."""
    from huggingface_hub import snapshot_download

    folder = Path(os.path.expanduser(model))  # noqa: PTH111 - never raises
    if folder.is_dir():
        return folder
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(FILES)}
    try:
        return Path(snapshot_download(model, local_files_only=True, **wanted))
    except (FileNotFoundError, ValueError):  # ValueError: no name of a model
        return None


def hub_folder() -> Path:
    """Where models of the hub are kept on this machine."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _on_the_hub(model: str, revision: str, step: str, remedy: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(FILES)}
    fetch = f"hf download {model} --revision {revision}"
    try:
        try:
            return Path(snapshot_download(model, local_files_only=True, **wanted))
        except FileNotFoundError:
            logging.getLogger(f"penstock.{step}").info("%s: fetching the model %s", step, model)
            reach_hub()
            return Path(snapshot_download(model, etag_timeout=PATIENCE, **wanted))
    except HFValidationError:
        raise UsageError(
            f"the model {model} of {step} is no folder, and no name of a model on the Hugging Face "
            f"hub; set stages.{step}.model to a folder that is there, {remedy}"
        ) from None
    # Its client raises errors of many kinds; whichever it was, this is what to do about it.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the model {model} of {step} is not here and could not be fetched ({reason}); "
            f"where there is a network: {fetch}; or set stages.{step}.model to a folder, {remedy}"
        ) from error


def pretrained_ingredients(model: str, revision: str, step: str) -> Mapping[str, Any]:
    """What `Stage.find_ingredients` answers for such a model: the hash of a folder's files, or the
    commit that the hub has under a name, which is as good as one."""
    folder = find_pretrained(model, revision, step)
    if folder.parent.name == "snapshots":
        return {"model": model, "content": folder.name}
    with told_by(step, "model"):
        return {"model": Path(model).name, "content": content_hash(folder)}


def load_pretrained(kind: str, folder: Path, step: str, **options: Any) -> Any:
    """`kind`, a class of transformers by name, loaded from a folder. Raises UsageError where the
    folder holds something else."""
    try:
        with loading_alone() as transformers:
            loader = getattr(transformers, kind)
            return loader.from_pretrained(folder, local_files_only=True, **options)
    # Each kind of file raises its own exceptions where it is unreadable.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{folder} cannot be loaded as {kind} ({reason}); set stages.{step}.model to another"
        ) from error
