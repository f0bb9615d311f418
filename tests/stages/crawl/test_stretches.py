"""A video handed on in stretches: what comes out is the same, however it is cut, and whatever
became of earlier attempts."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from engine import Item, Parts
from engine.contract.parts import MadePart, Positions
from engine.ledger.outputs.folders import remove_scratch
from stages.crawl import extract
from stages.crawl.extract import Extract
from stages.media.damage import Damage
from stages.media.video import open_video
from tests.stages.clips import make_clip, moving_picture

WAYS = {
    "fps": {"fps": 3},
    "fps, from 2.3 s to 14 s": {"fps": 3, "start": 2.3, "end": 14},
    "fps, from 11 s": {"fps": 2, "start": 11},
    "count": {"sample": "count", "count": 17},
    "count, from 3 s to 9 s": {"sample": "count", "count": 7, "start": 3, "end": 9},
    "keyframes": {"sample": "keyframes"},
    "all": {"sample": "all"},
    "all, up to a number": {"sample": "all", "max_frames": 37},
}
LENGTHS = [1e-9, 2.5, 1e12]


class Killed(Exception):
    """The attempt ends here."""


@dataclass
class Disk:
    """Parts as a work folder has them after several attempts: the last one at each position."""

    folder: Path
    parts: dict[int, Path] = field(default_factory=dict)
    kill_at: int | None = None
    """The number of parts that are taken in this attempt; it is killed with the next one."""
    is_committed: bool = True
    """Whether the part with which it is killed has been committed."""
    _made: int = 0

    def scratch(self, position: int) -> Path:
        self._made += 1
        folder = self.folder / f"{self._made}"
        folder.mkdir(parents=True)
        return folder

    def drop(self, folder: Path) -> None:
        remove_scratch(folder)

    def expect(self, count: int) -> None:
        pass

    def take(self, part: MadePart) -> None:
        is_last = self.kill_at == 0
        if not is_last or self.is_committed:
            self.parts[part.position] = part.folder
        if is_last:
            raise Killed
        if self.kill_at is not None:
            self.kill_at -= 1

    async def atake(self, part: MadePart) -> None:
        self.take(part)

    def read(self, many: int) -> dict[str, bytes]:
        """The files of the item's parts, lines of the same file joined."""
        found = dict[str, bytes]()
        for position in range(many):
            folder = self.parts[position]
            for path in sorted(one for one in folder.rglob("*") if one.is_file()):
                name = path.relative_to(folder).as_posix()
                is_a_frame = name.startswith("frames/")
                assert not (is_a_frame and name in found), f"{name} is in two parts"
                before = found.get(name, b"") if name == "frames.jsonl" else b""
                found[name] = before + path.read_bytes()
        return found


@dataclass(frozen=True)
class Killing:
    """An attempt that ends before its time."""

    stretch: float
    after: int
    is_committed: bool


Split = Callable[..., dict[str, bytes]]
Wholes = dict[Path, dict[str, bytes]]


@pytest.fixture
def split(make_item: Callable[..., Item], tmp_path: Path) -> Split:
    """Splits a video, after attempts that were killed; gives all that comes out."""
    number = 0

    def run(
        path: Path, stretch: float, killed: Sequence[Killing] = (), **wanted: object
    ) -> dict[str, bytes]:
        nonlocal number
        number += 1

        def download(folder: Path) -> None:
            (folder / path.name).symlink_to(path)
            (folder / "info.json").write_text(f'{{"file": "{path.name}"}}')

        item = make_item(f"{path}?{number}", download=download)
        disk = Disk(tmp_path / f"parts-{number}")
        for one in killed:
            disk.kill_at, disk.is_committed = one.after, one.is_committed
            _attempt(item, disk, one.stretch, wanted)
        disk.kill_at = None
        found = _attempt(item, disk, stretch, wanted)
        assert found is not None
        return found

    return run


def _attempt(
    item: Item, disk: Disk, stretch: float, wanted: dict[str, object]
) -> dict[str, bytes] | None:
    """What comes out of an attempt; None if it was killed."""
    stage = Extract(
        Extract.Settings(stretch=stretch, **wanted),  # type: ignore[arg-type]
        workdir=item.folder.parent.parent,
    )
    out = disk.scratch(0)
    parts = Parts(disk, Positions(disk.parts))
    stage.open()
    try:
        stage.split(item.with_inputs({"video": "download"}), out, parts)
    except Killed:
        return None
    finally:
        stage.close()
    for position in [one for one in disk.parts if one >= parts.position]:
        del disk.parts[position]
    return disk.read(parts.position) | {"extract.json": (out / "extract.json").read_bytes()}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def wholes() -> Wholes:
    """What comes out of a video, at 3 frames a second, where nothing is cut: made once for each."""
    return {}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 16 s with a damaged packet at 8 s: all of it has to be decoded, in order."""
    path = _make(tmp_path_factory.mktemp("damaged"))
    with open_video(path) as video:
        packets = [(packet.pos, packet.size) for packet in video.packets(Damage())]
    broken = bytearray(path.read_bytes())
    position, size = max(packets[80:96], key=lambda it: it[1])
    broken[position + 40 : position + size] = bytes(size - 40)
    path.write_bytes(broken)
    return path


def _make(folder: Path) -> Path:
    return make_clip(
        folder / "clip.mp4",
        range(160),
        time_base=Fraction(1, 10),
        options={"x264-params": "keyint=16:bframes=3:scenecut=0", "crf": "10"},
        size=(160, 96),
        rate=10,
        picture=moving_picture,
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_length_of_stretches_changes_no_byte(split: Split, clip: Path, way: str) -> None:
    whole = split(clip, 0, **WAYS[way])

    assert len(whole) > 5
    for length in LENGTHS:
        assert split(clip, length, **WAYS[way]) == whole


def test_the_length_of_stretches_changes_no_byte_of_a_damaged_video(
    split: Split, damaged: Path
) -> None:
    for way in ("fps, from 11 s", "count", "keyframes"):
        assert split(damaged, 2.5, **WAYS[way]) == split(damaged, 0, **WAYS[way])


KILLED = {
    "before and after": [Killing(2, 3, False), Killing(2, 2, True)],
    "then cut into longer ones": [Killing(2, 5, True), Killing(3.1, 0, True)],
    "then cut into longer ones, none committed": [Killing(2, 5, True), Killing(3.1, 0, False)],
    "then cut into shorter ones": [Killing(6, 1, True), Killing(3.1, 1, True)],
    "then cut otherwise, and back": [
        *(Killing(3.1, 4, True), Killing(0.5, 2, True), Killing(3.1, 0, False)),
    ],
    "late": [Killing(2, 6, True), Killing(3.1, 4, True)],
    "late, often": [Killing(0.5, 20, True), Killing(0.5, 0, True), Killing(3.1, 2, False)],
    "after all was decoded once more": [Killing(3.1, 8, True), Killing(3.1, 6, True)],
}


@pytest.mark.parametrize("killed", KILLED.values(), ids=KILLED)
def test_attempts_that_were_killed_leave_no_trace(
    split: Split, clip: Path, damaged: Path, killed: list[Killing], wholes: Wholes
) -> None:
    for video in (clip, damaged):
        if video not in wholes:
            wholes[video] = split(video, 0, fps=3)
        assert split(video, 3.1, killed, fps=3) == wholes[video]


def test_what_was_made_before_an_attempt_was_killed_is_used_again(
    split: Split, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(extract, "write_jpeg", _counted(extract.write_jpeg, written))

    split(clip, 2, [Killing(2, 3, True), Killing(2, 1, True)], fps=3)

    assert 48 <= len(written) <= 48 + 2 * 10  # the stretch with which it was killed, at most


def test_where_all_has_to_be_decoded_the_stretches_before_the_damage_come_out_the_same(
    split: Split, damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = defaultdict[int, list[str]](list)
    take = Disk.take

    def noted(disk: Disk, part: MadePart) -> None:
        taken[part.position].append((part.folder / "frames.jsonl").read_text())
        take(disk, part)

    monkeypatch.setattr(Disk, "take", noted)
    split(damaged, 2.5, fps=3)

    twice = [made for made in taken.values() if len(made) > 1]
    assert len(twice) >= 2
    assert all(made[0] == made[1] for made in twice)


def _counted(write: Callable[..., None], written: list[Path]) -> Callable[..., None]:
    def counted(pixels: object, path: Path, quality: int) -> None:
        written.append(path)
        write(pixels, path, quality)

    return counted
