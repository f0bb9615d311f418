"""Puts pictures into words with any model of transformers that makes text of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import UsageError
from stages.models.devices import Placed
from stages.models.pretrained import load_pretrained


class Captioner:
    """An image-to-text model from a folder, on a device. Not for two threads at once.

    `prompt` are words that a caption begins with, or, for a model that is talked to (one with a
    chat template), what it is asked; "" for none. Answers have `words` tokens at most, and are the
    likeliest ones, token by token: the same picture has the same caption.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        batch: int,
        half: bool,
        words: int,
        prompt: str,
        step: str,
    ) -> None:
        """Raises UsageError where the folder holds no such model."""
        import torch

        self._prepare: Any = load_pretrained("AutoProcessor", folder, step)
        if not hasattr(self._prepare, "image_processor"):
            raise UsageError(
                f"the model in {folder} does not take pictures; set stages.{step}.model to another"
            )
        model = load_pretrained(
            "AutoModelForImageTextToText",
            folder,
            step,
            use_safetensors=True,
            dtype=torch.float16 if half and device != "cpu" else torch.float32,
        )
        self._prompt = prompt
        self._words = words
        self._is_asked = bool(getattr(self._prepare, "chat_template", None))
        self._placed = Placed(model, device, batch, step)

    def captions(self, pictures: Sequence[Any]) -> list[str]:
        """A caption for each picture, in order; pictures are Pillow's, in RGB."""
        return self._placed.run(pictures, self._infer)

    def _infer(self, model: Any, device: str, pictures: list[Any]) -> list[str]:
        inputs = self._inputs(pictures).to(device, model.dtype)
        told = model.generate(**inputs, max_new_tokens=self._words, do_sample=False, num_beams=1)
        if self._is_asked:
            told = told[:, inputs["input_ids"].shape[1] :]
        texts = self._prepare.batch_decode(told, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def _inputs(self, pictures: list[Any]) -> Any:
        if self._is_asked:
            said = [{"type": "image"}, {"type": "text", "text": self._prompt or "Describe this."}]
            turns = [{"role": "user", "content": said}]
            asked = self._prepare.apply_chat_template(turns, add_generation_prompt=True)
            return self._prepare(
                images=[[picture] for picture in pictures],
                text=[asked] * len(pictures),
                padding=True,
                padding_side="left",
                return_tensors="pt",
            )
        words = {"text": [self._prompt] * len(pictures)} if self._prompt else {}
        return self._prepare(images=pictures, return_tensors="pt", **words)
