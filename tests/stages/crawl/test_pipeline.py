"""The crawl's graph: what each step reads, and what a bounded disk and old folders rely on."""

from stages.crawl.pipeline import crawl


def test_each_step_reads_by_role() -> None:
    assert {name: dict(crawl.inputs(name)) for name in crawl.names} == {
        "download": {},
        "extract": {"video": "download"},
        "filter": {"frames": "extract"},
        "describe": {"frames": "filter"},
        "dedup": {"frames": "filter", "descriptions": "describe"},
        "publish": {"records": "dedup", "summary": None},
    }


def test_each_step_reads_nothing_but_the_steps_just_before_it() -> None:
    """So a raw video goes, with keep = false, when it has been extracted, whatever comes later; and
    the fingerprints are those of folders from before there were inputs."""
    for name in crawl.names:
        assert crawl.reads(name) == crawl.predecessors(name)
