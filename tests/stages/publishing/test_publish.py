"""What has come of an item is one object in a store, with links that read the files beside it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from engine import Event, Job, Step, StepOpened, load_config
from engine.contract.item import MARK
from stages.crawl.pipeline import crawl
from stages.lesson.pipeline import lesson
from stages.publishing.publish import Publish
from stages.publishing.records import read_result
from stages.recipe.pipeline import recipe
from stages.scenes.pipeline import scenes
from stages.store.bucket import PIECE
from tests.engine.toys import executions, line, query, run, toy
from tests.stages.publishing.published import Writing, fetched, pipeline, to, told_in
from tests.stages.store.servers import (
    ACCOUNT,
    S3_KEYS,
    Link,
    make_bucket,
    make_container,
    objects,
    refusing,
    uploads,
)

pytest.importorskip("obstore")

SOURCE = "https://example.org/talk.mp4?X-Amz-Signature=secret-of-a-site"


def test_a_result_has_the_records_and_links_that_read_the_files(s3, bucket, tmp_path):
    report = run(pipeline(), tmp_path, [SOURCE], *to(bucket, s3))
    assert report.items["done"] == 1
    told = told_in(tmp_path)
    whole = fetched(told["url"])
    assert whole["records"] == [{"number": n, "said": "ü\u2028" * 10} for n in range(3)]
    assert whole["about"]["title"] == "A film"
    assert {name: httpx.get(one["url"]).content for name, one in whole["files"].items()} == {
        "film.mp4": b"film",
        "pictures/1.jpg": b"a picture",
        "value.json": (next(tmp_path.glob("items/*/made/value.json"))).read_bytes(),
    }
    assert whole["files"]["film.mp4"]["size"] == 4
    assert (told["records"], told["files"]) == (3, 3)
    assert told["address"] == f"s3://{bucket}/{told['key']}"
    assert objects(s3, bucket)[told["key"]] == told["size"]
    ends = datetime.fromisoformat(told["expires"]) - datetime.now(UTC)
    assert timedelta(days=6.9) < ends <= timedelta(days=7)
    assert whole["expires"] == told["expires"]

    answer = httpx.get(told["url"]).text
    for secret in ("secret-of-a-site", S3_KEYS["AWS_SECRET_ACCESS_KEY"], str(tmp_path), "nobody's"):
        assert secret not in answer + json.dumps(told)
    [folder] = tmp_path.glob("items/*/publish")
    assert {one.name for one in folder.iterdir()} == {MARK, "publish.json"}


def test_a_rerun_sends_nothing_and_another_setting_publishes_alone(s3, bucket, tmp_path):
    run(pipeline(), tmp_path, ["v"], *to(bucket, s3))
    before = told_in(tmp_path)
    assert run(pipeline(), tmp_path, ["v"], *to(bucket, s3)).items["reused"] == 1
    assert told_in(tmp_path) == before

    run(pipeline(), tmp_path, ["v"], *to(bucket, s3, files="pictures"))
    after = told_in(tmp_path)
    assert [*fetched(after["url"])["files"]] == ["pictures/1.jpg"]
    assert after["sent"] == after["size"], "the picture was there"
    assert fetched(before["url"])["files"], "an older link holds for as long as it says"
    assert executions(tmp_path).total() == 1


def test_what_was_published_is_a_result_still(s3, bucket, tmp_path):
    """It is made again where it is gone, and then what is there of it stands."""
    run(pipeline(), tmp_path, ["v"], *to(bucket, s3))
    before = told_in(tmp_path)
    [output] = tmp_path.glob("items/*/made")
    shutil.rmtree(output)
    report = run(pipeline(), tmp_path, ["v"], *to(bucket, s3))
    assert report.items["done"] == 1
    assert (output / "records.jsonl").is_file()
    assert told_in(tmp_path) == before


def test_without_a_store_nothing_is_done_and_an_old_folder_is_not_redone(tmp_path):
    """Nor is what was there for the records alone, and was deleted since."""
    old = [toy("fetched"), toy("made", "fetched", base=Writing)]
    new = [*old, Step(Publish, after="made", inputs={"records": "made"})]
    run(line(*old), tmp_path, ["v"], "stages.fetched.keep=false")
    assert run(line(*new), tmp_path, ["v"], "stages.fetched.keep=false").items["done"] == 1
    assert run(line(*new), tmp_path, ["v"], "stages.fetched.keep=false").items["reused"] == 1
    assert executions(tmp_path).total() == 2
    assert not [*tmp_path.glob("items/*/publish")]


@pytest.mark.parametrize("one", [crawl, scenes, recipe, lesson], ids=lambda one: one.name)
def test_it_is_part_of_a_run_that_names_a_store_and_is_no_trial(one):
    def off(*sets: str) -> set[str]:
        return set(load_config(one, None, {}, sets, {}).off)

    there = "stages.publish.url=s3://b/f"
    assert off() == {"publish"}
    assert off(there) == set()
    for flag in one.flags:
        if flag.name in ("--dry-run", "--preview"):
            assert off(there, *(f"{name}=true" for name in flag.sets)) == {"publish"}


def test_what_was_skipped_of_old_is_no_work_and_is_published_once_there_is_a_store(
    s3, bucket, tmp_path, monkeypatch
):
    """In 0.2.0 the step ran without a store too, and skipped every item."""
    with monkeypatch.context() as old:
        old.setattr(Publish, "is_off", lambda settings: False)
        run(pipeline(), tmp_path, ["v", "w"])
    skipped = query(tmp_path, "SELECT stage, kind FROM stages WHERE kind IS NOT NULL")
    assert skipped == [("publish", "no_store")] * 2

    heard: list[Event] = []
    assert run(pipeline(), tmp_path, ["v"], listen=heard.append).items["reused"] == 1
    assert not [event for event in heard if isinstance(event, StepOpened)]
    assert query(tmp_path, "SELECT count(*) FROM stages WHERE stage = 'publish'") == [(1,)]

    report = run(pipeline(), tmp_path, ["v", "w"], *to(bucket, s3))
    assert report.items["done"] == 2
    assert len([*tmp_path.glob("items/*/publish/publish.json")]) == 2
    assert executions(tmp_path).total() == 2, "what was made stands"


def test_turned_off_it_takes_its_link_away_and_turned_on_it_makes_one(s3, bucket, tmp_path):
    run(pipeline(), tmp_path, ["v"], *to(bucket, s3))
    before = told_in(tmp_path)
    [folder] = tmp_path.glob("items/*")
    assert read_result(folder) is not None
    assert run(pipeline(), tmp_path, ["v"]).items["reused"] == 1
    assert read_result(folder) is None

    run(pipeline(), tmp_path, ["v"], *to(bucket, s3))
    after = told_in(tmp_path)
    assert after["sent"] in (0, after["size"]), "the files were there"
    assert fetched(after["url"])["records"] == fetched(before["url"])["records"]
    assert executions(tmp_path).total() == 1


def test_a_public_folder_has_links_that_never_expire(s3, bucket, tmp_path):
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    policy = {"Statement": [allowed | {"Resource": f"arn:aws:s3:::{bucket}/*"}]}
    httpx.put(f"{s3}/{bucket}?policy", json=policy).raise_for_status()
    public = f"{s3}/{bucket}/results"
    run(pipeline(), tmp_path, ["v"], *to(bucket, s3, public_url=public))
    told = told_in(tmp_path)
    assert told["expires"] is None
    whole = fetched(told["url"])
    assert whole["expires"] is None
    assert httpx.get(whole["files"]["film.mp4"]["url"]).content == b"film"


def test_what_a_rule_of_the_bucket_may_delete_soon_is_put_anew(s3, bucket, tmp_path):
    """A file from before the last links' time: a new link promises more than it has left."""
    short = to(bucket, s3, link_days=1e-8)
    run(pipeline(), tmp_path / "one", ["v"], *short)
    first = told_in(tmp_path / "one")
    run(pipeline(), tmp_path / "two", ["v"], *short)
    assert told_in(tmp_path / "two")["sent"] >= first["sent"] - first["size"] > 0
    run(pipeline(), tmp_path / "three", ["v"], *to(bucket, s3))
    third = told_in(tmp_path / "three")
    assert third["sent"] == third["size"]


def test_azure_has_results_too(azure, keys, tmp_path):
    make_container(azure, "results")
    place = f"az://{ACCOUNT}/results/folder"
    run(pipeline(), tmp_path, ["v"], *to("", azure, url=place))
    whole = fetched(told_in(tmp_path)["url"])
    assert httpx.get(whole["files"]["pictures/1.jpg"]["url"]).content == b"a picture"
    assert len(whole["records"]) == 3


LARGE = {"records": 3000, "wide": 1000, "films": {"film.mp4": b"f" * (2 * PIECE)}}


def test_a_large_result_goes_in_pieces_and_has_a_record_a_line(s3, bucket, tmp_path):
    run(pipeline(**LARGE), tmp_path, ["v"], *to(bucket, s3))
    told = told_in(tmp_path)
    assert told["size"] > 2 * PIECE
    lines = httpx.get(told["url"]).text.split("\n")
    begins = lines.index('"records": [') + 1
    records = [json.loads(one.removesuffix(",")) for one in lines[begins : begins + 3000]]
    assert [one["number"] for one in records] == [*range(3000)]
    assert fetched(told["url"])["records"] == records
    assert uploads(s3, bucket) == []


PUBLISHING = """
import sys
from pathlib import Path
from tests.engine.toys import run
from tests.stages.publishing.published import pipeline, to
from tests.stages.publishing.test_publish import LARGE

run(pipeline(**LARGE), Path(sys.argv[1]), ["v"], *to(sys.argv[2], sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [PIECE, 4 * PIECE], ids=["film", "result"])
def test_a_killed_run_is_gone_on_with_and_leaves_nothing(s3, bucket, tmp_path, after):
    with Link(s3) as link:
        link.hold_at = after
        command = [sys.executable, "-c", PUBLISHING, str(tmp_path), bucket, link.url]
        with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
            assert link.held.wait(100)
            os.kill(process.pid, signal.SIGKILL)
    [left] = uploads(s3, bucket)
    assert left not in objects(s3, bucket), "nothing half is seen"

    report = run(pipeline(**LARGE), tmp_path, ["v"], *to(bucket, s3))
    assert report.items["done"] == 1
    assert executions(tmp_path).total() == 1, "what was made stands"
    assert len(fetched(told_in(tmp_path)["url"])["records"]) == 3000
    assert uploads(s3, bucket) == []
    assert not [*tmp_path.glob("items/*/.publish.partial")]


def test_a_store_that_turns_it_away_fails_the_item_until_it_is_asked_again(s3, bucket, tmp_path):
    """And what was made stands."""
    body = "<Error><Code>SlowDown</Code><Message>slower</Message></Error>"
    with refusing(503, body) as url:
        report = run(pipeline(), tmp_path, ["v"], *to("b", url, patience=0))
    assert report.items["failed"] == 1
    assert "SlowDown" in report.failures[0].example_reason
    missing = run(pipeline(), tmp_path, [Job("v", again=True)], *to("later", s3))
    assert missing.failures[0].example_reason.startswith(
        "s3://later/results: the bucket is not there"
    )
    make_bucket(s3, "later")
    report = run(pipeline(), tmp_path, [Job("v", again=True)], *to("later", s3))
    assert report.items["done"] == 1
    assert len(fetched(told_in(tmp_path)["url"])["records"]) == 3
    assert executions(tmp_path).total() == 1


def test_an_output_without_records_is_named(s3, bucket, tmp_path):
    run(pipeline(records=0), tmp_path / "none", ["v"], *to(bucket, s3))
    assert fetched(told_in(tmp_path / "none")["url"])["records"] == []
    empty = line(toy("made"), Step(Publish, after="made", inputs={"records": "made"}))
    report = run(empty, tmp_path, ["v"], *to(bucket, s3))
    assert report.failures[0].example_reason == "made has left no records to publish"
