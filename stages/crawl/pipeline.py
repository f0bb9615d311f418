"""The crawl pipeline: its steps, and the facts that no single stage knows."""

from typing import cast

from pydantic import BaseModel

from engine import SOURCE, Flag, Pipeline, Step
from stages.crawl.checks import crawl_checks
from stages.crawl.costs import crawl_costs
from stages.crawl.dataset.build import build_dataset
from stages.crawl.dataset.dedup import Dedup
from stages.crawl.dataset.gallery import crawl_sections
from stages.crawl.describe import Describe
from stages.crawl.extract import Extract
from stages.crawl.filter import Filter
from stages.fetch.download import Download
from stages.fetch.flags import FETCHING
from stages.net.addresses import canonical_source
from stages.publishing.publish import Publish, resolve_publish


def _resolve_crawl(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Fetch no more pixels than extract keeps, and share descriptions as dedup shares frames."""
    download = cast(Download.Settings, settings["download"])
    extract = cast(Extract.Settings, settings["extract"])
    describe = cast(Describe.Settings, settings["describe"])
    dedup = cast(Dedup.Settings, settings["dedup"])
    if download.size is None:
        download = download.model_copy(update={"size": extract.size or None})
    if describe.reuse_distance is None and describe.backend != "detections":
        describe = describe.model_copy(update={"reuse_distance": dedup.distance})
    return resolve_publish(settings | {"download": download, "describe": describe})


crawl = Pipeline(
    name="crawl",
    summary="Video URLs in, a deduplicated, described set of frames out.",
    steps=[
        Step(Download, after=SOURCE),
        Step(Extract, after="download"),
        Step(Filter, after="extract", each="extract"),
        Step(Describe, after="filter", each="extract"),
        Step(
            Dedup,
            after=["filter", "describe"],
            inputs={"frames": "filter", "descriptions": "describe"},
        ),
        Step(Publish, after="dedup", inputs={"records": "dedup"}),
    ],
    finish=build_dataset,
    kept=["replies"],
    canonical=canonical_source,
    resolve=_resolve_crawl,
    flags=[
        Flag(
            "--dry-run",
            "Do all that is free, and say how many requests the paid descriptions would take.",
            {"stages.describe.dry_run": True},
            once=True,
        ),
        Flag(
            "--refresh",
            "Read playlists, channels and feeds again, for what they have gained.",
            {"stages.download.reread": True},
            once=True,
        ),
        *FETCHING,
    ],
    checks=crawl_checks,
    sections=crawl_sections,
    costs=crawl_costs,
    unit="video",
    takes="URL",
    packages=["yt-dlp", "av", "ultralytics", "torch", "ImageHash", "Pillow", "numpy", "httpx"],
    imports=["numpy"],
)
