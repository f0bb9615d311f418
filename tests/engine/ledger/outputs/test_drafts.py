"""Drafts: what an attempt writes becomes the stage's output, whole, or goes without a trace."""

import json
import threading
from pathlib import Path

import pytest

from engine import Item
from engine.contract.item import MARK
from engine.ledger.outputs.drafts import Draft, FolderOutputs
from tests.engine.toys import leftovers, tree

pytestmark = pytest.mark.anyio


class Noted:
    """Outputs that note what is asked of them, and in which thread."""

    def __init__(self, *, instant: bool) -> None:
        self.instant = instant
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread())

    def open(self, item: Item, stage: str, number: int) -> Path:
        self._note(f"open {stage} {number}")
        return Path("scratch")

    def commit(
        self,
        item: Item,
        stage: str,
        scratch: Path,
        fingerprint: str,
        expanded: int | None,
        *_: object,
    ) -> None:
        self._note(f"commit {stage} {scratch} {fingerprint} {expanded}")

    def remove(self, scratch: Path) -> None:
        self._note(f"remove {scratch}")

    def discard_partial(self, item: Item, stage: str) -> None:
        self._note(f"discard {stage}")


@pytest.fixture
def item(tmp_path: Path) -> Item:
    return Item.at(tmp_path, "v")


@pytest.fixture
def draft(item: Item) -> Draft:
    return Draft(FolderOutputs(), item, "fetch", "fingerprint")


def fingerprint(item: Item) -> str:
    mark = json.loads((item.output("fetch") / MARK).read_text())
    return str(mark["fingerprint"])


@pytest.mark.parametrize("synced", [True, False])
def test_what_was_written_becomes_the_output(item: Item, synced: bool) -> None:
    draft = Draft(FolderOutputs(synced=synced), item, "fetch", "fingerprint")
    (draft.open() / "inner").mkdir()
    assert draft.folder is not None
    (draft.folder / "inner" / "file").write_text("whole")
    assert not item.has_output("fetch"), "until then it is nobody's"

    draft.commit()

    assert draft.folder is None
    assert (item.output("fetch") / "inner" / "file").read_text() == "whole"
    assert fingerprint(item) == "fingerprint"
    draft.remove()
    assert item.has_output("fetch"), "there is nothing to remove any more"


def test_what_is_removed_leaves_nothing(item: Item, draft: Draft, tmp_path: Path) -> None:
    (draft.open() / "file").write_text("half")
    draft.remove()
    draft.remove()
    assert draft.folder is None
    assert leftovers(tmp_path) == []
    assert not item.has_output("fetch")


def test_each_attempt_has_an_empty_folder_of_its_own(item: Item, draft: Draft) -> None:
    (draft.open() / "file").write_text("of a thread that was left to itself")
    second = Draft(FolderOutputs(), item, "fetch", "fingerprint", number=2)
    assert second.open() != draft.folder
    assert list(second.open().iterdir()) == []
    (second.open() / "file").write_text("whole")
    second.commit()
    assert (item.output("fetch") / "file").read_text() == "whole"


def test_a_later_output_takes_the_place_of_an_earlier_one(item: Item, draft: Draft) -> None:
    (draft.open() / "old").write_text("old")
    draft.commit()
    changed = Draft(FolderOutputs(), item, "fetch", "another")
    (changed.open() / "new").write_text("new")
    changed.commit()
    assert fingerprint(item) == "another"
    assert not (item.output("fetch") / "old").exists()


async def test_what_an_attempt_keeps_for_the_next_goes_when_it_is_told(
    item: Item, draft: Draft, tmp_path: Path
) -> None:
    kept = item.partial("fetch")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "half").write_text("half")
    draft.open()
    draft.remove()
    assert (kept / "half").exists()
    await draft.adiscard_partial()
    assert not kept.exists()
    assert tree(tmp_path) in ({}, {item.id: b"/"})


@pytest.mark.parametrize("instant", [True, False])
async def test_what_takes_time_is_done_off_the_loop(item: Item, instant: bool) -> None:
    outputs = Noted(instant=instant)
    draft = Draft(outputs, item, "fetch", "fp", number=3)
    await draft.aremove()
    assert outputs.calls == [], "it has not been opened"
    await draft.aopen()
    await draft.acommit(expanded=2)
    await draft.aremove()
    await draft.aopen()
    await draft.aremove()
    await draft.adiscard_partial()
    assert outputs.calls == [
        *("open fetch 3", "commit fetch scratch fp 2"),
        *("open fetch 3", "remove scratch", "discard fetch"),
    ]
    assert (threading.current_thread() in outputs.threads) == instant
    assert len(outputs.threads) == 1 or not instant


def test_a_folder_that_cannot_be_made_is_an_error_and_no_draft(
    item: Item, draft: Draft, tmp_path: Path
) -> None:
    (tmp_path / "items").write_text("in the way")
    with pytest.raises(OSError, match="items"):
        draft.open()
    assert draft.folder is None
    draft.remove()
