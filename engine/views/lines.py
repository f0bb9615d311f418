"""The lines that a view prints: totals, what is held, notable events."""

import time

from engine.contract.item import place_of, whole_id
from engine.telemetry.events import (
    AttemptEnded,
    DiskLow,
    DiskRecovered,
    Event,
    GateClosed,
    ItemUnfinished,
    ListenerFailed,
    Pruned,
    Repaired,
    RoomMade,
    Stopping,
    WorkerReplaced,
)
from engine.telemetry.text import counted, duration, one_line, pace, size
from engine.views.levels import PART
from engine.views.progress import Standing

HELD_SHOWN = 3
"""The most hosts that a view names among those that hold items."""


def ended_of(standing: Standing, source_ended: bool, unit: str) -> str:
    """How many whole items of how many have ended, and how many parts: "3 of 9 pages ended, 120 of
    400 parts"."""
    so_far = "" if source_ended else " so far"
    items = counted(standing.entered, unit)
    told = f"{standing.total_ended:,} of {items}{so_far} ended"
    if standing.parts_ended is None:
        return told
    if standing.parts_in_all is None:
        told += f", {counted(standing.parts_ended, PART)}"
    else:
        about = "about " if standing.parts_guessed else ""
        told += f", {standing.parts_ended:,} of {about}{counted(standing.parts_in_all, PART)}"
    if standing.parts_abandoned:
        told += f", {counted(standing.parts_abandoned, PART)} abandoned"
    return told


def totals_line(standing: Standing, source_ended: bool, unit: str = "item") -> str:
    """The state of the run in one line; `unit` is the pipeline's word for an item."""
    parts = [
        duration(standing.elapsed),
        ended_of(standing, source_ended, unit),
        *(f"{standing.ended[how]} {how}" for how in ("dropped", "failed") if how in standing.ended),
    ]
    if standing.rate:
        parts.append(pace(standing.rate))
    if held := sum(pool.held for pool in standing.pools):
        parts.append(f"{held} held")
    if standing.bottleneck:
        busy = standing.recent[standing.bottleneck].utilisation
        parts.append(f"{standing.bottleneck} is the bottleneck ({busy:.0%} busy)")
    if standing.left is not None:
        parts.append(f"about {duration(standing.left)} left")
    return ", ".join(parts)


def held_lines(standing: Standing, most: int = HELD_SHOWN) -> list[str]:
    """A line for each gate that holds items, `most` at most, and one for retries."""
    now = time.time()
    lines = [f"{held.items} held {held.told(now)}" for held in standing.holds[:most]]
    if len(standing.holds) > most:
        lines.append(f"{sum(held.items for held in standing.holds[most:])} held for others")
    return lines


def notable(event: Event, longest_id: int = 200) -> str | None:
    """A line for an event that a person wants to know of at once; None for all others."""
    match event:
        case AttemptEnded(outcome="failed", final=True):
            return f"failed in {event.stage}: {_what_and_why(event, longest_id)}"
        case GateClosed():
            return f"{event.key}: nothing for {duration(event.seconds)}: {event.reason}"
        case DiskLow():
            free, least = size(event.free), size(event.watermark)
            return f"disk: {free} free, less than {least}: nothing new until there is room"
        case DiskRecovered():
            return f"disk: {size(event.free)} free again: going on"
        case RoomMade():
            return f"the disk was full: {size(event.freed)} of half-done work deleted, to begin"
        case WorkerReplaced():
            return f"{event.stage}: worker {event.worker} replaced: {event.why}"
        case Repaired():
            return f"repaired {_name(event.item, longest_id)} in {event.stage}: {event.what}"
        case ItemUnfinished():
            return f"failed in the finish: {_name(event.item, longest_id)}: {event.reason}"
        case Pruned():
            return f"{counted(event.items, 'old item')} taken out: {size(event.bytes)} of outputs"
        case ListenerFailed():
            return f"{event.listener} failed, and the run goes on: {event.reason}"
        case Stopping():
            return f"stopping: {event.why}"
    return None


def _what_and_why(event: AttemptEnded, longest_id: int) -> str:
    """The reason, preceded by the item's id unless the reason names the item itself."""
    reason = event.reason or ""
    if ("://" in reason or reason.startswith("/")) and not place_of(event.item):
        return reason
    return f"{_name(event.item, longest_id)}: {reason}"


def _name(id_: str, longest: int) -> str:
    """The item's id, at most so long; for a part that of the whole item, and its place there."""
    return ", ".join(filter(None, (one_line(whole_id(id_), longest), place_of(id_))))
