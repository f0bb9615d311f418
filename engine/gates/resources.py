"""Resources that steps share by turns, such as a device: a step takes all it needs, or waits."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping

from engine.contract.errors import ConfigError, PipelineError


class Resources:
    """The resources of a run, by name, each with a capacity: 1, unless `capacities` gives another.

    Steps take resources, not workers: once a step has its resources, all of its workers may be
    inside, such as workers that feed one loaded model. So a resource of capacity 1 has one step at
    work in it.

    A step has its turn until another step waits for one of its resources: from then on no further
    worker of it goes in, and when its last worker has left, the next step has its turn, with all of
    its waiting workers. Turns are first come, first served among steps that need the same resource.
    A step takes all of its resources or none, and no step overtakes one that waits for the same
    resource. So there is no deadlock, and each step gets its turn as long as the workers inside
    leave.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        self._capacities = capacities
        self._taken: Counter[str] = Counter()
        self._line: deque[Share] = deque()

    def share(self, step: str, needs: Mapping[str, int]) -> "Share":
        """The share through which the workers of `step` go in. Raises PipelineError for an amount
        that is no whole number over 0, ConfigError for one over the capacity."""
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
        """Whether a worker of the step could go in if no other step waited."""
        return share.inside > 0 or all(
            self._taken[name] + many <= self._capacity(name) for name, many in share.needs.items()
        )

    def is_wanted(self, share: "Share") -> bool:
        """Whether a step waits for any of the same resources."""
        return any(not share.needs.keys().isdisjoint(other.needs) for other in self._line)

    def enter(self, share: "Share") -> None:
        """Count one more worker of the step as inside."""
        if not share.inside:
            self._taken.update(share.needs)
        share.inside += 1

    def leave(self, share: "Share") -> None:
        """Count one worker of the step less; the last one frees the resources."""
        share.inside -= 1
        if not share.inside:
            self._taken.subtract(share.needs)
            self.pass_on()

    def stand_in_line(self, share: "Share") -> None:
        if share not in self._line:
            self._line.append(share)

    def pass_on(self) -> None:
        """Let in every waiting step that may go in now, in order."""
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
    """One step's access to its resources: a worker is inside during an attempt or a batch.

    Steps take turns, first come, first served, as `Resources` says. A worker that is cancelled
    while it waits has taken nothing.
    """

    def __init__(self, resources: Resources, needs: Mapping[str, int]) -> None:
        self.needs = needs
        self.inside = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._resources = resources

    def enter_nowait(self) -> bool:
        """Go in if no waiting is needed; returns whether it did."""
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
                self.leave()  # it was let in and cancelled at the same time
            else:
                self._resources.pass_on()  # another step may have waited behind this one
            raise

    def leave(self) -> None:
        """Leave the resources."""
        self._resources.leave(self)

    def let_in(self) -> None:
        """Let in all waiting workers of the step."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                self._resources.enter(self)
                turn.set_result(None)
