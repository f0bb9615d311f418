"""A job: the source of an item, its parameters, and the handle of its origin."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parameters(Mapping[str, Any]):
    """An item's parameters, by name: read-only JSON values.

    `text` is their canonical JSON, in ASCII and sorted by name, or "" where there are none. Reading
    a value gives a copy. Two that are equal as mappings may differ in their text, and so in the
    outputs that they lead to: `1` is not `1.0` there.
    """

    text: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Parameters":
        """The parameters from `values`. Raises ValueError where a value is
        no JSON, or a name is no string."""
        if isinstance(values, Parameters):
            return values
        if not values:
            return NO_PARAMETERS
        try:
            plain = dict(values)
            text = json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":"))
            _check_names(plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{values!r} cannot be parameters of an item: {error}") from None
        return cls(text)

    def __getitem__(self, name: str) -> Any:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __bool__(self) -> bool:
        return bool(self.text)

    def __hash__(self) -> int:
        return hash(frozenset(self._values()))

    def __repr__(self) -> str:
        return repr(self._values())

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.text) if self.text else {}
        return values


NO_PARAMETERS = Parameters()


def check_id(id_: str) -> None:
    """Raises ValueError for an id that is not safe as a file name."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", id_):
        raise ValueError(f"{id_!r} is no item id: use letters, digits, '-', '_' and '.'")


def _check_names(value: object) -> None:
    """Refuse names that are numbers: JSON would turn them into strings, and
    so change the mapping."""
    if isinstance(value, dict):
        for name, one in value.items():
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} is no string")
            _check_names(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _check_names(one)


@dataclass(frozen=True, slots=True)
class Job:
    """A source's request for one item.

    `source` is the text that a person would type; the pipeline brings it into its canonical form,
    and the item's id follows from that. Where `id` is given, it is the item's id (safe as a file
    name), and `source` is taken as it stands.

    `parameters`, a mapping of strings to JSON values, are the stages' `item.parameters`. They are
    part of the fingerprint of every output of the item, and not of its id: one source with other
    parameters is the same item, and a later run does it again with the new ones. To have both, give
    each an id of its own. The ledger keeps them as they are, so keys and passwords do not belong
    there.

    A parameter that is named "STEP.KEY" is an option: the item's own value of a setting, where that
    is made with `per_item`.

    `again` has what failed with the item tried once more, as `penstock retry` does; otherwise an
    item that has failed is told as failed at once.

    `priority`: where items wait for a worker, those of a higher one go first, and those of one in
    the order in which they came. So where such keep coming, the others wait. The items of a list
    have the list's. If several jobs name one item, the highest of theirs holds.

    `deadline`, in seconds since the epoch: if the item has not ended by then, this job is not
    waited for any longer, and has "expired". Unless another job or a list waits for the item, it is
    given up: it stays pending, and what it had done stands. Where the clock is set meanwhile, the
    job has as long as it had when it came, at least.

    `handle` is the source's own means to recognise the job, such as a message's number; the engine
    does not look at it.
    """

    source: str
    id: str | None = None
    parameters: Mapping[str, Any] = NO_PARAMETERS
    again: bool = False
    priority: int = 0
    deadline: float | None = None
    handle: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError for an unsafe id and for invalid parameters."""
        if self.id is not None:
            check_id(self.id)
        object.__setattr__(self, "parameters", Parameters.of(self.parameters))

    @classmethod
    def of(cls, given: "Given") -> "Job":
        """The job for a source's value. Raises TypeError where the value stands for none."""
        if isinstance(given, Job):
            return given
        if isinstance(given, str):
            return cls(given)
        if isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, str) for x in given):
            return cls(given[1], given[0])
        raise TypeError(
            f"a source gave {given!r}; give a string, a pair (id, source), or an engine.Job"
        )


JobOutcome = Literal["done", "dropped", "failed", "expired"]
"""How a job ended: as its item did, or by its deadline."""


Given = str | tuple[str, str] | Job
"""A value that stands for a job: the text that a person would type, an id
and a source, or the job itself."""
