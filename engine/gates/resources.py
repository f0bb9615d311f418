"""What steps share by turns, such as a device: a step takes all that it needs at once, or waits."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping

from engine.contract.errors import ConfigError, PipelineError


class Resources:
    """The resources of a run, by name, each with a capacity: 1, unless `capacities` has it.

    It is steps that take them, not workers: the workers of a step that has what it needs are in it
    side by side, as with one loaded model that they all feed. So a resource of capacity 1 has one
    step at work in it.

    A step has its turn until another waits for any of what it has: then none of its workers goes in
    any more, and when the last has come out, the next has its turn, with as many workers as wait.
    Turns go first come, first served among steps that need the same. A step takes all or nothing,
    and nobody overtakes one who waits for the same. So there is no deadlock, and each step has its
    turn as long as those who are in come out.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        self._capacities = capacities
        self._taken: Counter[str] = Counter()
        self._line: deque[Share] = deque()

    def share(self, step: str, needs: Mapping[str, int]) -> "Share":
        """What the workers of `step` go in with. Raises ConfigError where that is more than there
        is."""
        for name, many in needs.items():
            if not isinstance(many, int) or many < 1:
                raise PipelineError(
                    f"stage {step!r} needs {many!r} of {name!r}; give a whole number over 0"
                )
            if many > self._capacity(name):
                raise ConfigError(
                    f'stage {step!r} needs {many} of {name!r}, and limits.resources."{name}" is '
                    f"{self._capacity(name)}: set it to {many} or more"
                )
        return Share(self, needs)

    def has_room(self, share: "Share") -> bool:
        """Whether one of its workers may go in, others who wait for the same aside."""
        return share.inside > 0 or all(
            self._taken[name] + many <= self._capacity(name) for name, many in share.needs.items()
        )

    def is_wanted(self, share: "Share") -> bool:
        """Whether anybody waits for any of what it needs."""
        return any(not share.needs.keys().isdisjoint(other.needs) for other in self._line)

    def enter(self, share: "Share") -> None:
        """One more of its workers is in."""
        if not share.inside:
            self._taken.update(share.needs)
        share.inside += 1

    def leave(self, share: "Share") -> None:
        """One of its workers comes out."""
        share.inside -= 1
        if not share.inside:
            self._taken.subtract(share.needs)
            self.pass_on()

    def stand_in_line(self, share: "Share") -> None:
        if share not in self._line:
            self._line.append(share)

    def pass_on(self) -> None:
        """Let in whoever may go in now."""
        wanted: set[str] = set()
        still = deque[Share]()
        for share in self._line:
            if share.waiting and wanted.isdisjoint(share.needs) and self.has_room(share):
                share.let_in()
            elif share.waiting:
                wanted |= share.needs.keys()
                still.append(share)
        self._line = still

    def _capacity(self, name: str) -> int:
        return self._capacities.get(name, 1)


class Share:
    """One step's way to what it needs: a worker goes in for the time of an attempt or of a batch.

    First come, first served by steps, in turns, as `Resources` says. Who is cancelled while waiting
    has taken nothing.
    """

    def __init__(self, resources: Resources, needs: Mapping[str, int]) -> None:
        self.needs = needs
        self.inside = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._resources = resources

    def enter_nowait(self) -> bool:
        """Go in if that needs no waiting."""
        resources = self._resources
        if resources.is_wanted(self) or not resources.has_room(self):
            return False
        resources.enter(self)
        return True

    async def enter(self) -> None:
        """Wait until it is the step's turn, and go in."""
        if self.enter_nowait():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        self._resources.stand_in_line(self)
        try:
            await turn
        except BaseException:
            if turn in self.waiting:
                self.waiting.remove(turn)
            if turn.done() and not turn.cancelled():
                self.leave()  # let in, then cancelled
            else:
                self._resources.pass_on()  # it may have been in somebody's way
            raise

    def leave(self) -> None:
        """Come out again."""
        self._resources.leave(self)

    def let_in(self) -> None:
        """All who wait go in."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                self._resources.enter(self)
                turn.set_result(None)
