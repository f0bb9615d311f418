"""A recipe whose video and frames go into an object store, and whose records hold links to them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from engine.cli.main import main
from tests.stages.publishing.published import fetched, told_in
from tests.stages.recipe.cooking import documents, make_video, run, says
from tests.stages.store.servers import S3_KEYS, make_bucket, objects, serving_s3
from tests.stages.vision_server import openai, serving

pytest.importorskip("obstore")


def persisted(work: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records of the one video in the database, and its document."""
    with closing(sqlite3.connect(work / "search.db")) as db:
        [(document,)] = db.execute("SELECT document FROM videos").fetchall()
        rows = [json.loads(row) for (row,) in db.execute("SELECT record FROM scenes")]
    return rows, json.loads(document)


def test_persisted_records_have_links_that_read_the_files(tmp_path: Path, monkeypatch) -> None:
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    video = make_video(tmp_path / "omelette.mp4", shots=3)
    with serving(says=says) as server, serving_s3() as s3:
        make_bucket(s3, "kitchen")
        work = tmp_path / "work"
        place = {"upload__url": "s3://kitchen/recipes", "upload__endpoint": s3}
        place |= {"publish__url": "s3://kitchen/results", "publish__endpoint": s3}
        report = run(work, openai(server), video, **place)
        assert report.items["done"] == 1
        assert not report.discrepancies
        stored = objects(s3, "kitchen")
        assert report.finish
        rows, document = persisted(work)
        link = document["stored"]
        assert httpx.get(link["url"]).content == video.read_bytes()
        assert link["address"].startswith("s3://kitchen/recipes/")
        [row] = [row for row in rows if row["label"] == "ingredients 1"]
        picture = (work / "documents" / row["thumbnail"]).read_bytes()
        assert httpx.get(row["picture"]["url"]).content == picture
        assert all("picture" in row for row in rows)
        whole = fetched(told_in(work)["url"])
        assert whole["records"][0]["document"] == document["document"]["document"]
        picture_in_store = whole["files"][row["thumbnail"].partition("/")[2]]
        assert httpx.get(picture_in_store["url"]).content == picture

        again = run(work, openai(server), video, **place)
        assert again.items["reused"] == 1
        assert not [line for line in again.finish if "sqlite" in line], "the sinks are as they were"
        assert objects(s3, "kitchen") == stored


@pytest.mark.slow
def test_a_store_that_takes_nothing_costs_no_document(tmp_path: Path, monkeypatch) -> None:
    """It is written, persisted without links, and a retry puts the files there, and the links."""
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    work, video = tmp_path / "work", make_video(tmp_path / "omelette.mp4", shots=2)
    with serving(says=says) as server, serving_s3() as s3:
        place = {"upload__url": "s3://missing", "upload__endpoint": s3}
        report = run(work, openai(server), video, **place)
        assert report.items["done"] == 1
        assert report.gaps == 0
        assert len(documents(work)) == 1
        rows, _ = persisted(work)
        assert not any("picture" in row for row in rows)
        asked = len(server.requests)

        make_bucket(s3, "missing")
        told = CliRunner().invoke(main, ["retry", str(work)])
        assert told.exit_code == 0, told.output
        assert len(server.requests) == asked, "no answered call is made again"
        rows, document = persisted(work)
        assert all("picture" in row for row in rows)
        assert httpx.get(document["stored"]["url"]).content == video.read_bytes()
