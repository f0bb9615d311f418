"""What the acceptance tests share: clips, a server for them, and a clean place to be."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.demo.server import File, MediaServer, Route
from tests.acceptance.clips import make_corpus


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """In an empty folder, without anybody's keys, proxies and settings.

    Downloads run in threads, unless the test has the mark `processes`: to start processes is most
    of what a crawl of a few small clips costs.
    """
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("PENSTOCK_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    if request.node.get_closest_marker("processes") is None:
        monkeypatch.setenv("PENSTOCK_DOWNLOAD_PLACEMENT", "thread")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Nine clips of four scenes each, the last three poor copies of the first three."""
    return make_corpus(tmp_path_factory.mktemp("clips"), 9)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    """A server without anything to serve yet."""
    with MediaServer() as running:
        yield running


@pytest.fixture
def serve(server: MediaServer) -> Callable[..., list[str]]:
    """Serves files, each through `route(File)` if it is given; returns their addresses."""

    def add(files: list[Path], route: Callable[[Route], Route] | None = None) -> list[str]:
        for file in files:
            server.routes[f"/{file.name}"] = route(File(file)) if route else File(file)
        return [server.url(f"/{file.name}") for file in files]

    return add
