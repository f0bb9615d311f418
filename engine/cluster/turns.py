"""Turns at a cluster on which not all pools fit: which step asks for a place, and which gives one
up. Policy alone: neither a clock nor Ray.

A place holds one worker process, with what it has loaded. Ray gives places to whoever asks first,
and whoever has one keeps it. With bounded inboxes that is a deadlock: the first step has every
place, and waits for room in the inbox of the second, which has none. So:

- A step without a place goes first: while one waits, no other asks for a further place.
- An idle place, whose worker waits for items or for room after it, is given up: to a step that has
  none after LULL seconds, so that it is not taken between an attempt and the next; to one that has
  some after IDLE seconds.
- A busy place is given up after its attempt if a step has none: by a step with several at once, by
  one with a single place after TURN seconds.

An attempt in hand is never cut short for another step. As every inbox is bounded, a step that is
given room ends up idle, so every step that waits gets its turn.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

LULL = 1.0
IDLE = 5.0
TURN = 30.0


@dataclass(eq=False, slots=True)
class StepAtCluster:
    """How a step stands at the cluster: its places, those of them that are idle, with the times
    since when, oldest first, and the workers that wait for a place."""

    step: str
    give_up: Callable[[], Awaitable[None]]
    """Gives up the place that has been idle longest."""
    places: int = 0
    idle: list[float] = field(default_factory=list)
    waiting: int = 0

    @property
    def is_without(self) -> bool:
        """Whether it waits, and has no place at all."""
        return self.waiting > 0 and self.places == 0


class PlaceTurns:
    """The steps of a run that share a cluster."""

    def __init__(self) -> None:
        self.steps: list[StepAtCluster] = []

    def join(self, step: str, give_up: Callable[[], Awaitable[None]]) -> StepAtCluster:
        """A further step, with nothing yet."""
        standing = StepAtCluster(step, give_up)
        self.steps.append(standing)
        return standing

    def may_ask(self, mine: StepAtCluster) -> bool:
        """Whether a worker of the step may ask the cluster for a place."""
        return mine.places == 0 or not self._is_wanted_by_others(mine)

    def to_give_up(self, mine: StepAtCluster, now: float) -> StepAtCluster | None:
        """The step to give up an idle place, for a worker of `mine` that the cluster has no room
        for; None where none is to."""
        least = IDLE if mine.places > 0 else LULL
        others = [other for other in self.steps if other is not mine and other.idle]
        longest = min(others, key=lambda other: other.idle[0], default=None)
        return longest if longest is not None and now - longest.idle[0] >= least else None

    def gives_up(self, mine: StepAtCluster, had_for: float) -> bool:
        """Whether the step is to give up a place at the end of an attempt, having had it for so
        many seconds."""
        return self._is_wanted_by_others(mine) and (mine.places > 1 or had_for >= TURN)

    def _is_wanted_by_others(self, mine: StepAtCluster) -> bool:
        return any(other.is_without for other in self.steps if other is not mine)
