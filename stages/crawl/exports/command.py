"""`penstock export`: a finished dataset in the format of a training tool."""

import json
from importlib import import_module
from pathlib import Path

import click

from engine import UsageError
from stages.crawl.dataset.build import DATASET
from stages.crawl.exports.reader import Dataset
from stages.files.folders import built_whole

FORMATS = ("coco", "huggingface", "webdataset", "yolo")

MARK = ".penstock-export.json"
"""Marks a folder as an export, which may be replaced."""


@click.command
@click.argument("workdir", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    required=True,
    help="What to write: COCO's JSON, Parquet for Hugging Face's datasets, tar files for "
    "WebDataset, or images and labels for Ultralytics YOLO.",
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
    help="Share of the videos to hold out for validation; a video is never in both.",
)
def export(workdir: Path, form: str, out: Path | None, split: float) -> None:
    """Write the dataset of WORKDIR in a format that training tools read.

    Frames are copied, so that no tool can change the dataset through the export.
    """
    dataset = Dataset(workdir / DATASET, split)
    out = (out or workdir / "export" / form).absolute()
    _refuse_others_folder(out, dataset)
    try:
        with built_whole(out) as folder:
            import_module(f"stages.crawl.exports.{form}").write(dataset, folder)
            mark = {"format": form, "split": split}
            (folder / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot export to {out}: {error.strerror or error}: {error.filename or out}"
        ) from error
    click.echo(f"{form}: {dataset.summary()} in {out}")
    if split and "validation" not in dataset.splits:
        click.echo("penstock: nothing is held out: all frames are of one video", err=True)


def _refuse_others_folder(out: Path, dataset: Dataset) -> None:
    if out.resolve().is_relative_to(dataset.folder.resolve()):
        raise UsageError(f"{out} lies in the dataset itself; give another folder with --out")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(
            f"{out} is not empty and not an export; give another folder with --out, or empty it"
        )
