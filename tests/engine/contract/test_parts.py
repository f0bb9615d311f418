"""`Parts`: what a splitting stage hands over, in order, and what it need not make again."""

import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Parts, PenstockError
from engine.contract.parts import MadePart, Positions

places = st.integers(0, 200)


@given(st.lists(places), st.lists(st.tuples(st.booleans(), places)))
def test_positions_are_a_set(first: list[int], changes: list[tuple[bool, int]]) -> None:
    positions, expected = Positions(first), set(first)
    for adds, position in changes:
        (positions.add if adds else positions.discard)(position)
        (expected.add if adds else expected.discard)(position)
    for same in (positions, pickle.loads(pickle.dumps(positions))):
        assert {position for position in range(300) if position in same} == expected
        assert len(same) == len(expected)


class Taker:
    """Takes parts until one has a file named "unwanted"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped: list[Path] = []
        self.taken: list[tuple[str, int, dict[str, object], list[str]]] = []
        self.expected: list[int] = []

    def scratch(self, position: int) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{position} ", dir=self.folder))

    def drop(self, folder: Path) -> None:
        self.dropped.append(folder)

    def take(self, part: MadePart, how: str = "take") -> None:
        names = [one.name for one in part.folder.iterdir()]
        if "unwanted" in names:
            raise PenstockError("no more")
        self.taken.append((how, part.position, dict(part.parameters), names))

    async def atake(self, part: MadePart) -> None:
        self.take(part, "atake")

    def expect(self, count: int) -> None:
        self.expected.append(count)


@pytest.fixture
def taker(tmp_path: Path) -> Taker:
    return Taker(tmp_path)


def test_a_part_is_taken_at_the_end_of_its_block(taker: Taker) -> None:
    parts = Parts(taker)
    for name in ("a", "b"):
        with parts.make({"name": name}) as folder:
            (folder / name).touch()
            assert len(taker.taken) == parts.position
    assert taker.taken == [("take", 0, {"name": "a"}, ["a"]), ("take", 1, {"name": "b"}, ["b"])]
    assert parts.position == 2


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_async_block_is_awaited(taker: Taker) -> None:
    parts = Parts(taker)
    async with parts.make() as folder:
        (folder / "a").touch()
    with pytest.raises(ValueError, match="mine"):
        async with parts.make():
            raise ValueError("mine")
    assert taker.taken == [("atake", 0, {}, ["a"])]
    assert len(taker.dropped) == 1
    assert parts.position == 1


def test_what_is_not_taken_has_no_position(taker: Taker) -> None:
    parts = Parts(taker)
    with pytest.raises(ValueError, match="mine"), parts.make():
        raise ValueError("mine")
    with pytest.raises(PenstockError, match="no more"), parts.make() as folder:
        (folder / "unwanted").touch()
    assert (parts.position, taker.taken) == (0, [])
    assert [folder.name[0] for folder in taker.dropped] == ["0"], "the taker removes its own"
    with parts.make():
        pass
    assert parts.position == 1


def test_parameters_have_to_be_json(taker: Taker) -> None:
    with pytest.raises(ValueError, match="cannot be parameters of an item"):
        Parts(taker).make({"folder": Path()})
    assert list(taker.folder.iterdir()) == []


def test_a_stage_may_say_how_many_parts_there_will_be(taker: Taker) -> None:
    parts = Parts(taker)
    for count in (3, 0):
        parts.expect(count)
    with pytest.raises(ValueError, match=r"parts.expect\(-1\): give a number of parts"):
        parts.expect(-1)
    assert taker.expected == [3, 0]
    assert parts.position == 0


@given(st.sets(st.integers(0, 12)), st.integers(0, 12))
def test_a_stage_makes_what_does_not_stand(standing: set[int], count: int) -> None:
    made = []
    parts = Parts(Silent(made), Positions(standing))
    while parts.position < count:
        if not parts.reuse():
            with parts.make():
                pass
    assert parts.position == count
    assert made == [position for position in range(count) if position not in standing]


class Silent(Taker):
    """Only notes the positions of what it takes."""

    def __init__(self, made: list[int]) -> None:
        super().__init__(Path())
        self._made = made

    def scratch(self, position: int) -> Path:
        return Path(str(position))

    def take(self, part: MadePart, how: str = "take") -> None:
        self._made.append(part.position)


def test_nothing_stands_once_a_stage_begins_again(taker: Taker) -> None:
    parts = Parts(taker, Positions([0, 1]))
    assert parts.reuse()
    parts.begin_again()
    assert not parts.reuse()
    with parts.make():
        pass
    assert not parts.reuse()
    assert [position for _, position, *_ in taker.taken] == [0]
