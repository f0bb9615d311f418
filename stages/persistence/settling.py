"""The end of a run for the sinks: they agree with the ledger.

A sink may have been deleted, set anew or written by a run that was killed; and a video that was
done may have failed since. So what the ledger has as done is put where it is missing, and what it
has as failed or dropped is taken out. A sink may be shared: videos that this work folder does not
know are left alone there, and so is what another one has put there of a video that failed here, or
has put there later than this one. What is put in again keeps the turn in which it was first
written, so that it never takes the place of what another work folder is about to write.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import cast

from engine import FinishContext, Item, ItemRecord
from stages.persistence.persist import WRITTEN, Persist
from stages.persistence.store import LOCAL_SINKS, Store, StoreSettings, find_embedder
from stages.sinks.sink import Sink, VideoRecords, WrittenVideo

RecordsOf = Callable[[Item], VideoRecords]
"""A finished video, as its pipeline puts it into the sinks."""


def forget(context: FinishContext, record: ItemRecord) -> list[str]:
    """Take a video out of every sink that is set, or lies in the work folder from earlier runs.
    Returns a line for each, and for what it cannot take it out of."""
    settings = cast(StoreSettings, context.settings[Persist.name])
    lines = []
    earlier = [name for name, place in LOCAL_SINKS.items() if (context.workdir / place).exists()]
    all_of_them = settings.model_copy(update={"sinks": (*settings.sinks, *earlier)})
    with closing(Store(all_of_them, context.workdir, None)) as store:
        for name, sink in store.sinks.items():
            lines.append(f"{name}: {'taken out' if sink.remove(record.id) else 'it was not there'}")
    exports = context.workdir / "export"
    if exports.is_dir():
        lines.append(f"{exports} was made before: penstock export makes it anew")
    return lines


def settle_sinks(context: FinishContext, records_of: RecordsOf) -> Iterator[str]:
    """Make each sink agree with the ledger. Yields a line for each that did not, and one where
    searching will be by words alone though nobody has asked for that."""
    settings = cast(StoreSettings, context.settings[Persist.name])
    embedder = find_embedder(settings, workdir=context.workdir)
    with closing(Store(settings, context.workdir, embedder)) as store:
        for name in store.sinks:
            written, removed = _settle(store, name, context, records_of)
            if written or removed:
                yield f"{name}: {written} put in that were missing, {removed} taken out"
    if embedder is None and settings.meaning == "auto" and "sqlite" in settings.sinks:
        yield (
            "search: by words alone; by meaning, too, with pip install 'penstock[search]' and "
            "--set stages.persist.meaning=local"
        )


def _settle(
    store: Store, name: str, context: FinishContext, records_of: RecordsOf
) -> tuple[int, int]:
    sink, is_shared = store.sinks[name], name in store.shared
    held, ours = sink.written(), store.written.read(name) if is_shared else {}
    written = removed = 0
    for record in context.items():
        item, there = Item(record.id, record.source, record.folder), held.get(record.id)
        known = ours.get(record.id, {})
        if record.outcome == "done" and item.has_output(Persist.name):
            generation = _generation(item)
            if generation is None:
                continue
            if there is None or there.generation != generation:
                turn = _turn(sink, generation, there, known) if is_shared else sink.begin()
                written += turn is not None and store.write_to(name, records_of(item), turn)
            elif is_shared and not known:
                store.written.note(name, record.id, there)  # written before that was noted
        elif record.outcome in ("dropped", "failed") and there is not None:
            if is_shared and known.get(there.turn) != there.generation:
                continue
            removed += sink.remove(record.id, set(known) if is_shared else None)
    return written, removed


def _turn(
    sink: Sink, generation: str, there: WrittenVideo | None, known: Mapping[int, str]
) -> int | None:
    """The turn in which this generation was put into a shared sink, to put it in again; None where
    what is there is later."""
    turn = max((turn for turn, noted in known.items() if noted == generation), default=0)
    if there is not None and there.turn > turn:
        return None
    return turn or sink.begin()


def _generation(item: Item) -> str | None:
    """The generation that was put into the sinks; None where a dry run put none."""
    written = json.loads((item.output(Persist.name) / WRITTEN).read_text(encoding="utf-8"))
    generation: str | None = written.get("generation")
    return generation
