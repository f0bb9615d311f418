"""What has come of a job: records page by page, and files by links that expire."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import Item
from stages.serve.desk import signing
from tests.engine import toys
from tests.engine.toys import Toy, line, toy
from tests.stages.publishing.published import fetched, pipeline, to
from tests.stages.serve.serving import Serving, serving
from tests.stages.store.servers import S3_KEYS, make_bucket, serving_s3

RECORDS = 25
PAGE = "<script>alert(1)</script>"
WHOLE = len(PAGE)


class Writing(Toy):
    """Leaves records, a page that would run a script, and a link out of the folder."""

    def act(self, item: Item, out: Path) -> Any:
        lines = [json.dumps({"number": number, "<b>": "ü"}) for number in range(RECORDS)]
        (out / "records.jsonl").write_text("\n".join(lines) + "\n")
        (out / "page.html").write_text(PAGE)
        (out / "secret").symlink_to("/etc/passwd")
        return super().act(item, out)


@pytest.fixture
def service() -> Iterator[Serving]:
    with toys.fast_folder() as folder, serving(line(toy("a", base=Writing)), folder) as one:
        yield one


def test_records_come_in_pages(service: Serving) -> None:
    job = service.ended(service.posted())
    at, numbers = f"{job['links']['results']}?limit=10", []
    while at:
        page = service.client.get(at).json()
        numbers += [record["number"] for record in page["records"]]
        at = page["next"]
    assert numbers == list(range(RECORDS))


def test_a_link_gives_its_file_and_no_other(
    service: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.ended(service.posted())
    files = service.client.get(job["links"]["files"]).json()["files"]
    links = {file["name"]: file["url"] for file in files}
    assert set(links) == {"a/page.html", "a/records.jsonl", "a/value.json"}
    page = service.client.get(links["a/page.html"])
    assert page.text == PAGE
    assert "sandbox" in page.headers["Content-Security-Policy"]
    piece = service.client.get(links["a/records.jsonl"], headers={"Range": "bytes=0-9"})
    assert (piece.status_code, piece.text) == (206, '{"number":')
    for other in ("a/secret", "../../penstock.db", ".penstock", "a/value.json"):
        at = links["a/page.html"].replace("a/page.html", other)
        assert service.client.get(at).status_code in (403, 404)
    monkeypatch.setattr(signing, "LASTS", -1.0)
    [old, *_] = service.client.get(job["links"]["files"]).json()["files"]
    assert service.client.get(old["url"]).status_code == 403


@pytest.mark.parametrize(
    ("asked", "status", "size"),
    [
        ("bytes=-5", 206, 5),
        ("bytes=0-0, 2-2", 206, None),
        ("bytes=99999-", 416, 0),
        ("lines=1-2", 200, WHOLE),
        ("bytes=9-2", 200, WHOLE),
        ("bytes=", 200, WHOLE),
        ("bytes=" + "0-0," * 2000, 200, WHOLE),
    ],
    ids=range(7),
)
def test_odd_ranges(service: Serving, asked: str, status: int, size: int | None) -> None:
    job = service.ended(service.posted())
    [page, *_] = service.client.get(job["links"]["files"]).json()["files"]
    assert page["name"] == "a/page.html"
    assert page["size"] == WHOLE
    answer = service.client.get(page["url"], headers={"Range": asked})
    assert answer.status_code == status, answer.text
    assert size is None or len(answer.content) == size


def test_who_only_asks_for_the_head_gets_it(service: Serving) -> None:
    job = service.ended(service.posted())
    [page, *_] = service.client.get(job["links"]["files"]).json()["files"]
    for at in (page["url"], "/healthz", "/readyz"):
        head = service.client.head(at)
        assert (head.status_code, head.content) == (200, b"")
    assert service.client.head(page["url"]).headers["Content-Length"] == str(page["size"])


def test_a_job_that_is_not_done_has_no_results(service: Serving) -> None:
    id_ = service.posted()
    service.ended(id_)
    assert service.client.get("/jobs/none/results").status_code == 404
    refused = service.client.delete(f"/jobs/{id_}")
    assert refused.status_code == 409
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_results_that_were_taken_away_are_said_to_be(service: Serving) -> None:
    job = service.ended(service.posted("pruned"))
    shutil.rmtree(service.run.workdir / "items" / job["item"])
    for kind in ("results", "files"):
        gone = service.client.get(job["links"][kind])
        assert gone.status_code == 410
        assert "post it again" in gone.json()["detail"]


def test_a_job_says_where_its_whole_result_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    with toys.fast_folder() as folder, serving_s3() as s3:
        make_bucket(s3, "results")
        with serving(pipeline(), folder, *to("results", s3)) as service:
            job = service.ended(service.posted())
            whole = fetched(job["result"]["url"])
            assert whole["records"] == service.client.get(job["links"]["results"]).json()["records"]
            assert (job["result"]["records"], job["result"]["files"]) == (3, 3)
            assert service.client.get("/jobs").json()["jobs"] == [job]
        with serving(pipeline(), folder) as service:
            assert service.client.get(job["links"]["self"]).json()["result"] == job["result"]
            assert service.ended(service.posted())["result"] is None, "nothing is published now"


def test_a_folder_of_an_earlier_release_has_its_jobs() -> None:
    """Its table has no column for results."""
    with toys.fast_folder() as folder:
        with serving(line(toy("a")), folder) as service:
            job = service.ended(service.posted())
        with closing(sqlite3.connect(folder / "penstock.db")) as db:
            db.execute("ALTER TABLE served_jobs DROP COLUMN result")
            db.execute("ALTER TABLE served_jobs DROP COLUMN held")
            db.commit()
        with serving(line(toy("a")), folder) as service:
            assert service.client.get(job["links"]["self"]).json() == job
            assert service.ended(service.posted("w"))["result"] is None
