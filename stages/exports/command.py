"""`penstock export`: a finished dataset in the format of a training tool, or scenes as subtitles,
chapters and tables."""

import json
from importlib import import_module
from pathlib import Path

import click

from engine import UsageError
from stages.crawl.dataset.build import DATASET
from stages.crawl.exports.reader import Dataset
from stages.files.folders import built_whole
from stages.scenes.exports.reader import ScenesFolder
from stages.scenes.results import RESULTS

OF_A_CRAWL = {
    "coco": "stages.crawl.exports.coco",
    "huggingface": "stages.crawl.exports.huggingface",
    "webdataset": "stages.crawl.exports.webdataset",
    "yolo": "stages.crawl.exports.yolo",
}

OF_SCENES = {
    "srt": "stages.scenes.exports.srt",
    "vtt": "stages.scenes.exports.vtt",
    "chapters": "stages.scenes.exports.chapters",
    "csv": "stages.scenes.exports.comma_separated",
    "jsonl": "stages.scenes.exports.lines",
}

FORMATS = OF_A_CRAWL | OF_SCENES
"""The module that writes each format: its `write(what, folder)`."""

MARK = ".penstock-export.json"
"""Marks a folder as an export, which may be replaced."""


@click.command
@click.argument("workdir", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="Of a crawl: COCO's JSON, Parquet for Hugging Face's datasets, tar files for WebDataset, "
    "images and labels for Ultralytics YOLO. Of scenes: subtitles, chapters for FFmpeg and "
    "YouTube, a table of scenes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder to write; an earlier export there is replaced.  [default: "
    "WORKDIR/export/FORMAT]",
)
@click.option(
    "--split",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of a crawl's videos to hold out for validation; a video is never in both.",
)
def export(workdir: Path, form: str, out: Path | None, split: float) -> None:
    """Write the dataset of WORKDIR, or its scenes, in a format that other tools read.

    Frames are copied, so that no tool can change the dataset through the export.
    """
    if split and form in OF_SCENES:
        raise UsageError(f"--split holds out videos of a crawl's dataset; leave it out for {form}")
    what = _opened(workdir, form, split)
    out = (out or workdir / "export" / form).absolute()
    _refuse_others_folder(out, what.folder)
    try:
        with built_whole(out) as folder:
            import_module(FORMATS[form]).write(what, folder)
            mark = {"format": form, "split": split}
            (folder / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot export to {out}: {error.strerror or error}: {error.filename or out}"
        ) from error
    click.echo(f"{form}: {what.summary()} in {out}")
    if split and isinstance(what, Dataset) and "validation" not in what.splits:
        click.echo("penstock: nothing is held out: all frames are of one video", err=True)


def _opened(workdir: Path, form: str, split: float) -> Dataset | ScenesFolder:
    """What a run has made there that this format is for. Raises UsageError where it has not."""
    is_of_scenes = form in OF_SCENES
    wanted, other = (RESULTS, DATASET) if is_of_scenes else (DATASET, RESULTS)
    if (workdir / other).is_dir() and not (workdir / wanted).exists():
        fitting = ", ".join(OF_A_CRAWL if is_of_scenes else OF_SCENES)
        what = "a crawl's dataset" if is_of_scenes else "scenes"
        raise UsageError(f"{workdir} holds {what}, which {form} is not for; these are: {fitting}")
    return ScenesFolder(workdir / RESULTS) if is_of_scenes else Dataset(workdir / DATASET, split)


def _refuse_others_folder(out: Path, whence: Path) -> None:
    if out.resolve().is_relative_to(whence.resolve()):
        raise UsageError(f"{out} lies in the {whence.name} itself; give another folder with --out")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(
            f"{out} is not empty and not an export; give another folder with --out, or empty it"
        )
