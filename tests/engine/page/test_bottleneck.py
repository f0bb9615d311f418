"""What the page says of the bottleneck once the run has ended: what the run itself said."""

from pathlib import Path

import pytest

from engine.page.data import Book
from engine.telemetry.statistics import CLUSTER, PoolStatistics, bottleneck_sentence
from tests.engine.page.ledgers import add_run, made_ledger, pool, sample
from tests.engine.toys import line, toy

WORKED = {"worker_seconds": 10.0, "attempts": 9, "done": 9, "busy": 1.0}
WAITED_FOR_ROOM = pool(**WORKED, needing=8.0, needs=CLUSTER)
WAITED_FOR_A_GPU = pool(**WORKED, needing=8.0, needs="gpu, camera")
WAITED_FOR_JOBS = pool(**WORKED, starved=9.0)


@pytest.mark.parametrize(
    ("last", "resident", "said"),
    [
        (WAITED_FOR_ROOM, False, "a waits for the cluster"),
        (WAITED_FOR_A_GPU, False, "gpu, camera is the bottleneck"),
        (WAITED_FOR_JOBS, True, "there is room for more"),
        (WAITED_FOR_JOBS, False, "The source is the bottleneck"),
    ],
)
def test_a_later_page_says_what_the_run_said(
    tmp_path: Path, last: PoolStatistics, resident: bool, said: str
) -> None:
    """Of the last run that was measured: the one after it found nothing to do."""
    with made_ledger(tmp_path) as ledger:
        ledger.add_sample(add_run(ledger, 0, 10, resident=resident), 1, sample(9, last))
        add_run(ledger, 20, 21)
    told = Book(line(toy("a")), tmp_path).read(running=False).bottleneck
    assert told is not None
    assert said in told
    assert told == bottleneck_sentence({"a": last}, 0.0, resident=resident)
