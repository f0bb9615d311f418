"""kill -9 at any moment: the next run goes on, does nothing twice, and comes to the same."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.item import PARTS
from tests.engine.killed import check_kills, standing
from tests.engine.toy_command import BOOKS, ITEMS, LISTS, WORKERS
from tests.engine.toys import executions, fast_folder, query

Folders = tuple[Path, Path]


@pytest.fixture
def folders() -> Iterator[Folders]:
    with fast_folder() as killed, fast_folder() as undisturbed:
        yield killed, undisturbed


def committed(workdir: Path) -> set[tuple[str, str]]:
    """(stage, id) of the outputs that stand there, and of what the ledger says was deleted."""
    deleted = query(workdir, "SELECT stage, item FROM stages WHERE discarded")
    return standing(workdir) | {(stage, id_) for stage, id_ in deleted}


def check_whole_items(folders: Folders, kills: int, seed: int) -> None:
    check_kills("crash", *folders, kills=kills, all_in_all=400, seed=seed, finished=committed)
    assert query(folders[0], "SELECT count(*) FROM items") == [(ITEMS + LISTS,)]


def ended(workdir: Path) -> set[tuple[str, str]]:
    """(stage, id) of the outputs that stand there, and of all that the ledger has as ended. A part
    that stands there, and that the ledger has not, was in its worker's hand."""
    rows = query(workdir, "SELECT stage, item FROM stages WHERE outcome != 'pending'")
    entered = {id_ for (id_,) in query(workdir, "SELECT id FROM items")}
    there = {(stage, id_) for stage, id_ in standing(workdir) if id_ in entered}
    return there | {(stage, id_) for stage, id_ in rows}


def check_parts(folders: Folders, kills: int, seed: int) -> None:
    killed, undisturbed = folders
    hits = check_kills("parts", *folders, kills=kills, all_in_all=360, seed=seed, finished=ended)
    items = "SELECT id, outcome, position, made, content FROM items ORDER BY id"
    assert query(killed, items) == query(undisturbed, items)
    whole = "SELECT count(*) FROM items WHERE parent IS NULL"
    assert query(killed, whole) == [(BOOKS,)]
    # What a kill can have cost: the one item that each worker had in hand, or part that it made.
    once = executions(undisturbed)
    again = Counter[tuple[str, bool]]()
    for (stage, id_), times in executions(killed).items():
        made = id_.rpartition("/")[0].endswith(f"{stage}{PARTS}")
        again[stage, made] += times - once[stage, id_]
    assert all(times <= hits * WORKERS[stage] for (stage, _), times in again.items()), again


@pytest.mark.slow
def test_a_killed_run_is_taken_up_where_it_was(folders: Folders) -> None:
    check_whole_items(folders, kills=8, seed=8)


@pytest.mark.slow
def test_a_killed_run_with_parts_is_taken_up_where_it_was(folders: Folders) -> None:
    check_parts(folders, kills=4, seed=3)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_any_number_of_kills_at_any_moment(folders: Folders, seed: int) -> None:
    check_whole_items(folders, kills=20, seed=seed)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(20))
def test_any_number_of_kills_at_any_moment_in_parts(folders: Folders, seed: int) -> None:
    check_parts(folders, kills=20, seed=seed)
