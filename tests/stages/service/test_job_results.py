"""A job's result says where the whole of it is, with a link that holds, also when it is asked for
again."""

import json
import threading
from pathlib import Path

import pytest

from tests.engine.toys import executions, query
from tests.stages.publishing.published import fetched, pipeline, to, told_in
from tests.stages.service.redis_server import producing, redis_server
from tests.stages.service.test_bull import Ends, address, returned, work
from tests.stages.store.servers import S3_KEYS, make_bucket, serving_s3

pytest.importorskip("bullmq")
pytest.importorskip("obstore")


def age(workdir: Path) -> None:
    """Have the result's link end in the past."""
    [file] = workdir.glob("items/*/publish/publish.json")
    told = json.loads(file.read_text())
    file.write_text(file.read_text().replace(told["expires"], f"2001{told['expires'][4:]}"))


def test_a_job_that_comes_again_gets_a_link_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    work_folder, data = tmp_path / "work", {"url": address("v")}
    with (
        serving_s3() as s3,
        redis_server(tmp_path, "--maxmemory-policy", "noeviction") as redis,
        producing(redis, "videos") as producer,
    ):
        make_bucket(s3, "results")
        ids = [producer.add(data)]

        def asks_again() -> None:
            producer.wait_until(ids[0], "completed")
            ids.append(producer.add(data))
            producer.wait_until(ids[1], "completed")
            age(work_folder)
            ids.append(producer.add(data))

        site = threading.Thread(target=asks_again)
        site.start()
        work(redis, "videos", work_folder, pipeline(), Ends(2), *to("results", s3))
        site.join()
        first, second, third = (
            returned(producer.wait_until(id_, "completed"))["result"] for id_ in ids
        )
        assert second == first, "it is answered from what stands"
        assert third["expires"] >= first["expires"]
        assert query(work_folder, "SELECT count(*) FROM attempts WHERE stage = 'publish'") == [(2,)]
        assert fetched(third["url"])["records"] == fetched(first["url"])["records"]
        assert third["url"] == told_in(work_folder)["url"]
        assert executions(work_folder).total() == 1
