"""Trains the tiny captioner and the tiny tagger of sounds that ship with Penstock, and prints how
often they are right about pictures and sounds that they have not met.

    python benchmarks/train_scene_models.py            # writes stages/demo/captioner and tagger
    python benchmarks/train_scene_models.py --quick    # a few steps, to see that it runs

They are a BLIP and an AST of transformers, with fewer and narrower layers: what loads and runs them
is what loads and runs the large ones. Everything follows from --seed; what comes out is the same on
the same machine.
"""

import argparse
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.demo import shapes
from stages.demo.shapes import Shape, draw, texture
from stages.demo.voice import SOUNDS, sound
from stages.models.pretrained import import_transformers, load_pretrained
from stages.sound.ast_tagger import AstTagger
from stages.sound.track import RATE

DEMO = Path(shapes.__file__).parent

PICTURE = (192, 108)
"""Width and height of training pictures; the network sees 64x64."""

SIDE = 64
COLOURS = ("red", "green", "blue", "yellow")
KINDS = ("circle", "square", "triangle")
WORDS = ("a", "above", "left", "of", *COLOURS, *KINDS)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, START, END = 0, 2, 3

WINDOW = 10.0
"""Seconds of sound in one window."""


def described_picture(seed: int) -> tuple[Any, str]:
    """A picture of two shapes, and what it shows."""
    chance = random.Random(seed)
    width, height = PICTURE
    beside = chance.random() < 0.5
    radius = [chance.uniform(16, 23) for _ in range(2)]
    if beside:
        xs = [chance.uniform(0.17, 0.36) * width, chance.uniform(0.64, 0.83) * width]
        ys = [chance.uniform(0.3, 0.7) * height for _ in range(2)]
    else:
        ys = [0.25 * height, 0.75 * height]
        xs = [chance.uniform(0.42, 0.58) * width for _ in range(2)]
    words, drawn = [], []
    for x, y, size in zip(xs, ys, radius, strict=True):
        kind, colour = chance.choice(KINDS), chance.choice(COLOURS)
        drawn.append(Shape(kind, colour, x, y, size, 45.0 if kind == "square" else 0.0))
        words.append(f"a {colour} {kind}")
    return draw(texture(width, height, seed), drawn), (" left of " if beside else " above ").join(
        words
    )


def train_captioner(folder: Path, pictures: int, steps: int, seed: int) -> None:
    transformers = import_transformers()
    torch.manual_seed(seed)
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = transformers.BertTokenizer(vocab=vocabulary)
    prepare = transformers.BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    layers = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
    text = {
        **layers,
        "encoder_hidden_size": 64,
        "num_hidden_layers": 2,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 16,
        "bos_token_id": START,
        "eos_token_id": END,
        "sep_token_id": END,
        "pad_token_id": PAD,
    }
    sight = {**layers, "num_hidden_layers": 3, "image_size": SIDE, "patch_size": 16}
    config = transformers.BlipConfig(text_config=text, vision_config=sight, projection_dim=32)
    model = transformers.BlipForConditionalGeneration(config)

    # The network's input, as bytes: it fits into memory, and is the same to within rounding.
    raw = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    seen, said = [], []
    for start in range(0, pictures, 256):
        some = [
            described_picture(1_000_000 + at) for at in range(start, min(start + 256, pictures))
        ]
        made = prepare([picture for picture, _ in some], **raw)["pixel_values"]
        seen.append(made.clamp(0, 255).round().to(torch.uint8))
        said += [[START, *(vocabulary[word] for word in text.split()), END] for _, text in some]
    pixels, tokens = torch.cat(seen), torch.tensor(padded(said))
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (prepare.image_mean, prepare.image_std)
    )
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        at = torch.randint(len(pixels), (64,), generator=order)
        wanted = tokens[at]
        loss = model(
            pixel_values=(pixels[at].float() / 255 - mean) / std,
            input_ids=wanted,
            attention_mask=(wanted != PAD).long(),
            labels=wanted.masked_fill(wanted == PAD, -100),
        ).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            print(f"  step {step}: loss {loss.item():.3f}", flush=True)
    model.half().save_pretrained(folder)
    transformers.BlipProcessor(prepare, tokenizer).save_pretrained(folder)


def padded(lines: list[list[int]]) -> list[list[int]]:
    longest = max(map(len, lines))
    return [line + [PAD] * (longest - len(line)) for line in lines]


def right_captions(folder: Path, count: int) -> float:
    """The share of new pictures of which the saved model says the very words."""
    processor = load_pretrained("AutoProcessor", folder, "captions")
    model = load_pretrained(
        "AutoModelForImageTextToText", folder, "captions", dtype=torch.float32
    ).eval()
    new = [described_picture(at) for at in range(count)]
    inputs = processor(images=[picture for picture, _ in new], return_tensors="pt")
    with torch.inference_mode():
        told = model.generate(**inputs, max_new_tokens=14)
    said = processor.batch_decode(told, skip_special_tokens=True)
    return float(np.mean([one == text for one, (_, text) in zip(said, new, strict=True)]))


def described_sound(seed: int) -> tuple[Any, list[str]]:
    """Up to ten seconds of sound, and what is in it."""
    chance = np.random.default_rng(seed)
    length = int(WINDOW * RATE)
    times = np.arange(length) / RATE
    heard = chance.normal(0, 10 ** chance.uniform(-5, -3.5), length)
    present = [name for name in SOUNDS if chance.random() < 0.45]
    begins = {}
    for name in present:
        begin = begins[name] = max(0.0, chance.uniform(-4, WINDOW - 2))
        inside = (times >= begin) & (times < begin + chance.uniform(2, WINDOW))
        level = 10 ** chance.uniform(*((-1.7, -0.4) if name == "Noise" else (-0.9, -0.2)))
        heard += level * inside * sound(name, times, chance)
    if chance.random() < 0.5:  # a short window, which is filled up in the spectrogram
        end = chance.uniform(1.5, WINDOW)
        heard = heard[: int(end * RATE)]
        present = [name for name in present if begins[name] < end - 0.5]
    return heard.astype(np.float32), present


def train_tagger(folder: Path, sounds: int, steps: int, seed: int) -> None:
    transformers = import_transformers()
    torch.manual_seed(seed)
    prepare = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=1024)
    config = transformers.ASTConfig(
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_mel_bins=32,
        max_length=1024,
        patch_size=32,
        frequency_stride=32,
        time_stride=32,
        id2label=dict(enumerate(SOUNDS)),
        label2id={name: number for number, name in enumerate(SOUNDS)},
        problem_type="multi_label_classification",
    )
    model = transformers.ASTForAudioClassification(config)
    made = [described_sound(1_000_000 + at) for at in range(sounds)]
    inputs = prepare([one for one, _ in made], sampling_rate=RATE, return_tensors="pt")
    heard = inputs["input_values"]
    wanted = torch.tensor([[float(name in present) for name in SOUNDS] for _, present in made])
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        at = torch.randint(len(heard), (32,), generator=order)
        loss = model(input_values=heard[at], labels=wanted[at]).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.3f}", flush=True)
    model.half().save_pretrained(folder)
    prepare.save_pretrained(folder)


def right_tags(folder: Path, count: int) -> float:
    """The share of new sounds of which the saved model says exactly what is in them."""
    tagger = AstTagger(folder, "tagger", device="cpu", batch=16, step="sounds")
    new = [described_sound(at) for at in range(count)]
    right = 0
    for (_, present), scores in zip(new, tagger.scores([one for one, _ in new]), strict=True):
        right += [n for n, score in zip(SOUNDS, scores, strict=True) if score > 0.5] == present
    return right / count


def size(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.iterdir()) / 1000:.0f} kB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEMO, help="the folder to write into")
    parser.add_argument("--only", choices=("captioner", "tagger"), help="train one of them")
    parser.add_argument("--pictures", type=int, default=8_192)
    parser.add_argument("--sounds", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps of each")
    arguments = parser.parse_args()
    quick = arguments.quick
    # One thread: the layers are so small that sharing them out costs more than it gains.
    torch.set_num_threads(1)
    if arguments.only != "tagger":
        folder, start = arguments.out / "captioner", time.monotonic()
        train_captioner(
            folder, 256 if quick else arguments.pictures, 5 if quick else 3_000, arguments.seed
        )
        seconds, right = time.monotonic() - start, right_captions(folder, 300)
        print(f"{folder}: {size(folder)}, {seconds:.0f} s; {right:.1%} of captions to the word")
    if arguments.only != "captioner":
        folder, start = arguments.out / "tagger", time.monotonic()
        train_tagger(
            folder, 32 if quick else arguments.sounds, 5 if quick else 1_500, arguments.seed
        )
        seconds, right = time.monotonic() - start, right_tags(folder, 300)
        print(
            f"{folder}: {size(folder)}, {seconds:.0f} s; {right:.1%} of windows without a mistake"
        )


if __name__ == "__main__":
    main()
