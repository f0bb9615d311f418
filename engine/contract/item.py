"""An `Item`: an id safe as a file name, its source, its folder; and its atomic outputs.

WORKDIR/items/<id>/<stage>/            a finished output, renamed into place
WORKDIR/items/<id>/.<stage>.scratch-*  one attempt at it, removed when the attempt ends
WORKDIR/items/<id>/.<stage>.partial    what the stage keeps between attempts (half a download)
WORKDIR/items/<id>/<stage>.parts/<n>/  the folder of the part at position n, laid out like an item's
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from engine.contract.errors import PenstockError, PipelineError
from engine.contract.job import NO_PARAMETERS, Parameters, check_id
from engine.contract.showing import identity, shown


class MissingOutput(PenstockError):
    """The output is not there, for example that of an optional stage that failed."""


NO_FAILURES: Mapping[str, str] = {}
NO_PART_FAILURES: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work: a file, a page, a job. Only this travels between stages.

    `id` is safe as a file name and the same for the same source in every run. `source` is where the
    item comes from: a URL, with any password or signature that it needs (`engine.shown` removes
    these), or a path. `folder` is `WORKDIR/items/<id>`. `depth` is the number of lists that the
    item is nested in: 0 for an item of the run's source. `inputs` is set while a step has the item:
    the steps whose outputs its stage reads, by role, None for an optional role that is bound to no
    step; and so are `failures`: why optional ones of these steps failed, by step, and
    `part_failures`: why those that it gathers failed with its parts, by step and the part's id.
    `parameters` are the values that the item's job gave for it, by name: read-only, and a part of
    every output's fingerprint.

    A part is an item too, with a `parent`: the step `split` made it of the parent, at `position`,
    and gave it its parameters.
    """

    id: str
    source: str
    folder: Path
    depth: int = field(default=0, compare=False, repr=False)
    inputs: Mapping[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    parameters: Parameters = field(default=NO_PARAMETERS, repr=False)
    failures: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    part_failures: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict, compare=False, repr=False
    )
    parent: "Item | None" = field(default=None, compare=False, repr=False)
    split: str = field(default="", compare=False, repr=False)
    position: int = field(default=0, compare=False, repr=False)

    @classmethod
    def at(
        cls,
        workdir: Path,
        source: str,
        id: str | None = None,  # noqa: A002
        parameters: Mapping[str, Any] = NO_PARAMETERS,
    ) -> "Item":
        """The item for `source` in this work folder. Nothing is written.

        Raises ValueError for an id that is not safe as a file name, and for parameters that are no
        JSON.
        """
        id = id or item_id(source)  # noqa: A001
        check_id(id)
        return cls(id, source, workdir / "items" / id, parameters=Parameters.of(parameters))

    def child(
        self,
        source: str,
        id: str | None = None,  # noqa: A002
        parameters: Mapping[str, Any] = NO_PARAMETERS,
    ) -> "Item":
        """A new item that this one produced, as a list produces entries. It has none of this one's
        parameters, only the given ones. Raises as `at` does."""
        return Item.at(self.root.folder.parent.parent, source, id, parameters)

    def part(
        self, split: str, position: int, parameters: Mapping[str, Any] = NO_PARAMETERS
    ) -> "Item":
        """The part at `position` that the step `split` makes of this item. Nothing is written."""
        return Item(
            part_id(self.id, split, position),
            self.source,
            self.folder / _place(split, position),
            self.depth,
            parameters=Parameters.of(parameters),
            parent=self,
            split=split,
            position=position,
        )

    @property
    def root(self) -> "Item":
        """The whole item that this one is a part of, however deep; itself if it is a whole one."""
        return self if self.parent is None else self.parent.root

    @property
    def options(self) -> Mapping[str, Any]:
        """The values that the job of the whole item gave for settings, by "STEP.KEY": of its
        parameters those with such a name. `Stage.settings_for` puts them in their places."""
        given = self.root.parameters
        return {name: value for name, value in given.items() if "." in name} if given else {}

    def shaping(self, step: str) -> Parameters:
        """The parameters that go into the fingerprint of its output of this step: its own, and
        those of a part's whole item that are options of the step."""
        if self.parent is None or not self.root.parameters:
            return self.parameters
        own = {n: value for n, value in self.options.items() if n.partition(".")[0] == step}
        return Parameters.of({**self.parameters, **own}) if own else self.parameters

    def with_inputs(
        self,
        inputs: Mapping[str, str | None],
        failures: Mapping[str, str] = NO_FAILURES,
        part_failures: Mapping[str, Mapping[str, str]] = NO_PART_FAILURES,
    ) -> "Item":
        """This item as given to a step that reads these steps' outputs, by role, of which some have
        failed, with it or with its parts."""
        given = (inputs, failures, part_failures)
        if (self.inputs, self.failures, self.part_failures) == given:
            return self
        return replace(self, inputs=inputs, failures=failures, part_failures=part_failures)

    def input(self, role: str) -> Path:
        """The input folder of the role `role`.

        Raises MissingOutput where it is not there, as `has_input` says, and PipelineError for a
        role that the stage does not name.
        """
        step = self._bound_to(role)
        if step is None:
            raise MissingOutput(f"{self.id}: no step's output is bound to the input {role!r}")
        return self.output(step)

    def has_input(self, role: str) -> bool:
        """Whether there is an input for `role`: False where an optional role is bound to no step,
        or where that step ended without an output."""
        step = self._bound_to(role)
        return step is not None and self.has_output(step)

    def why_failed(self, role: str) -> str | None:
        """Why the optional step that is bound to `role` failed with this item; of a part that is
        gathered, why it failed at that step, or before it. None where it did not: it had rightly
        nothing to do, or there is an input. An output does not depend on it by its fingerprint: one
        made after another failure keeps the reason of the first."""
        step = self._bound_to(role)
        return self.failures.get(step) if step is not None else None

    def parts(self, role: str) -> Iterator["Item"]:
        """The parts of this item that have an output for `role`, in order: those that ended well at
        the step bound to it, which stands at the parts, or makes them.

        `part.input(...)` of each gives its inputs by the same roles, `part.why_failed(...)` why one
        is missing. Parts that were dropped, failed or skipped there are not among them. Raises
        PipelineError for a role that the stage does not name.
        """
        step = self._bound_to(role)
        for part in self.parts_with(step) if step is not None else ():
            own = {step: why[part.id] for step, why in self.part_failures.items() if part.id in why}
            yield part.with_inputs(self.inputs, {**self.failures, **own})

    def parts_with(self, step: str) -> Iterator["Item"]:
        """The parts of this item that have an output of `step`, in order."""
        for split in self._splits():
            for position in _positions(self.folder / f"{split}{PARTS}"):
                part = self.part(split, position)
                if (part.folder / step / MARK).is_file():
                    yield self.part(split, position, read_parameters(part.folder))

    def _splits(self) -> list[str]:
        """The steps that this item has parts of, by name."""
        try:
            with os.scandir(self.folder) as found:
                names = [one.name for one in found if one.name.endswith(PARTS)]
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(PARTS) for name in names)

    def _bound_to(self, role: str) -> str | None:
        try:
            return self.inputs[role]
        except KeyError:
            roles = ", ".join(self.inputs) or "none"
            raise PipelineError(
                f"the stage reads {role!r}, but its inputs are: {roles}; name it in the class's "
                "`inputs` or `optional_inputs`"
            ) from None

    def has_output(self, stage: str) -> bool:
        """Whether `stage` has finished with this item and its output has not been deleted; of a
        part: or with the item that it is a part of."""
        return self._with_output(stage) is not None

    def output(self, stage: str) -> Path:
        """The output folder of `stage`: this item's own, or else that of the item that it is a part
        of. Raises MissingOutput where there is none."""
        folder = self._with_output(stage)
        if folder is None:
            raise MissingOutput(f"{self.id} has no output of stage {stage!r}")
        return folder

    def _with_output(self, stage: str) -> Path | None:
        item: Item | None = self
        while item is not None:
            folder = item.folder / stage
            if (folder / MARK).is_file():
                return folder
            item = item.parent if stage != item.split else None
        return None

    def partial(self, stage: str) -> Path:
        """A folder that survives failed attempts and crashes of `stage`, made if it is missing.

        The engine removes it once the stage has ended with the item.
        """
        folder = self.folder / hidden_name(stage, "partial")
        if folder.is_symlink():
            folder.unlink()  # the engine made no link: nothing may be written through it
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def item_id(source: str) -> str:
    """An id for `source`: readable, safe as a file name, and distinct (48 bits of SHA-256).

    An address with a new signature keeps its id, and the id tells nothing about a password, not
    even by trying.
    """
    return _id(shown(source), identity(source))


def id_with_options(source: str, options: Mapping[str, Any]) -> str:
    """An id for `source` with these options, JSON-able: the source's own where there are none. So
    one source with other options is another item, and both have results."""
    if not options:
        return item_id(source)
    digest = hashlib.sha256(Parameters.of(options).text.encode()).hexdigest()[:8]
    return f"{item_id(source)}-{digest}"


def earlier_id(source: str) -> str:
    """The id as the first versions made it: passwords and signatures were part of it."""
    return _id(source, source)


def _id(readable: str, distinct: str) -> str:
    digest = hashlib.sha256(distinct.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    tail = re.sub(r"^[a-z][a-z0-9+.-]*://(www\.)?", "", readable.lower())
    words = re.sub(r"[^a-z0-9]+", "-", tail).strip("-")
    return f"{words[-40:].strip('-')}-{digest}" if words else digest


@cache
def hidden_name(stage: str, what: str) -> str:
    """The name of a folder beside the stage's output, from a small set, so that all names can be
    kept.

    Path objects intern the names in them. With ever new names Python rebuilds its table of interned
    strings, a megabyte, and malloc keeps that much for each thread that has done it.
    """
    return f".{stage}.{what}"


MARK = ".penstock.json"

PARTS = ".parts"
"""The ending of the folder with the parts that a step has made; no step's name ends so."""


PARAMETERS = ".parameters.json"
"""The file in a part's folder that has its parameters; missing where it has none."""


def part_id(of: str, split: str, position: int) -> str:
    """The id of the part at `position` that the step `split` makes of the item with the id `of`."""
    return f"{of}/{_place(split, position)}"


def _place(split: str, position: int) -> str:
    return f"{split}{PARTS}/{position:08d}"


def whence(id_: str) -> tuple[str, str] | None:
    """The id of the item that a part is of, and the step that made it, from the part's id; None for
    a whole item."""
    parent, _, place = id_.rpartition("/")
    if not place.isdecimal() or not parent:
        return None
    parent, _, split = parent.rpartition("/")
    return parent, split.removesuffix(PARTS)


def whole_id(id_: str) -> str:
    """The id of the whole item that the item or part of this id belongs to."""
    return id_.partition("/")[0]


def first_part(id_: str) -> int:
    """The number, from 1 on, of the whole item's part that the part of this id is, or belongs to; 0
    for a whole item."""
    places = id_.split("/", 3)
    return int(places[2]) + 1 if len(places) > 2 else 0


def place_of(id_: str) -> str:
    """The place of a part in its item, from the part's id: "part 3", or "part 3.1" for the first
    part of that one; "" for a whole item."""
    positions = re.findall(rf"{re.escape(PARTS)}/(\d+)", id_)
    return f"part {'.'.join(str(int(position) + 1) for position in positions)}" if positions else ""


def read_parameters(folder: Path) -> Parameters:
    """The parameters of the part in `folder`."""
    try:
        return Parameters((folder / PARAMETERS).read_text())
    except FileNotFoundError:
        return NO_PARAMETERS


def _positions(folder: Path) -> list[int]:
    """The positions of the parts in `folder`, in order."""
    try:
        with os.scandir(folder) as found:
            return sorted(int(one.name) for one in found if one.name.isdecimal())
    except FileNotFoundError:
        return []
