"""The end of a scenes run: the results' folder, and sinks that agree with the ledger."""

from typing import cast

from engine import FinishContext, Item
from stages.persistence.persist import Persist, vectors_counted
from stages.persistence.records import read_records
from stages.persistence.settling import settle_sinks
from stages.persistence.store import StoreSettings
from stages.scenes.collect import Collect
from stages.scenes.describing.costs import words_counted
from stages.scenes.describing.summary import Summarise
from stages.scenes.results import build_results
from stages.sinks.sink import VideoRecords
from stages.speech.transcribe import speech_counted


def finish(context: FinishContext) -> list[str]:
    """Build the results' folder, then settle the sinks, or say what a dry run has counted. Returns
    lines for the report. While a resident run goes on, it only builds the folder."""
    built = build_results(context)
    if not context.is_over:
        return built
    counting = (speech_counted, words_counted, vectors_counted)
    counted = [line for count in counting for line in count(context.items())]
    if cast(StoreSettings, context.settings[Persist.name]).dry_run:
        told = counted or ["dry run: these settings make no paid call"]
        return [*built, *told, "dry run: nothing was sent, and the sinks are as they were"]
    return [*built, *counted, *settle_sinks(context, _records)]


def _records(item: Item) -> VideoRecords:
    summary = item.output(Summarise.name) if item.has_output(Summarise.name) else None
    return read_records(item, item.output(Collect.name), summary)
