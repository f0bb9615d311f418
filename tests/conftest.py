"""What every test may use: the folder of real media, and items in a temporary work folder."""

import os
import signal
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from engine import Item
from engine.ledger.outputs.folders import commit_output, open_scratch
from tests.engine.toys import fast_folder
from tests.finished_demo import Demo, finish_demo

# Tests share the processor, so how long a case takes says nothing; pytest-timeout ends what hangs.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new-cases", unhurried)
# A change is judged by the same cases every time; new ones are looked for wherever people work.
settings.register_profile("same-cases", unhurried, derandomize=True)
settings.load_profile("same-cases" if os.environ.get("CI") else "new-cases")

DATA = Path(
    os.environ.get("PENSTOCK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
).resolve()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real videos, edge cases and models; the test is skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip("needs the folder of real media: set PENSTOCK_TEST_DATA to it")
    return DATA


def pytest_configure() -> None:
    """Refuses to test with installed entry points that are not those of pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for group, wanted in project["entry-points"].items():
        found = {entry.name: entry.value for entry in metadata.entry_points(group=group)}
        if wanted.items() - found.items():
            raise pytest.UsageError(
                f"the installed entry points {group} are not those of pyproject.toml; install "
                "them: python -m pip install --no-deps -e ."
            )


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell that runs the tests in the background has them ignore Ctrl-C, and processes that they
    start, of which some are sent one, would ignore it too."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the key with which runs seal their settings out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def ultralytics_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps ultralytics' settings out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps fetched and exported weights out of the home folder. Test processes that run side by
    side share them: an export takes seconds."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "penstock-cache"))
        yield


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return finish_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def fast() -> Iterator[Path]:
    """A work folder where syncing costs nothing."""
    with fast_folder() as folder:
        yield folder


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests run on asyncio, as the engine does; those of virtual time bring a clock."""
    return "asyncio"


@pytest.fixture
def make_item(tmp_path: Path) -> Callable[..., Item]:
    """Makes an item in `tmp_path`, whose stages already have the outputs that functions write.

    make_item("http://…", extract=write_frames) calls write_frames(folder) and commits the folder.
    """

    def make(source: str, **outputs: Callable[[Path], object]) -> Item:
        item = Item.at(tmp_path, source)
        for stage, write in outputs.items():
            scratch = open_scratch(item, stage)
            write(scratch)
            commit_output(item, stage, scratch, fingerprint="test")
        return item

    return make
