"""torchvision beside a torch that it was not built for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from stages.models.suppression import suppress
from stages.models.yolo import import_torchvision

CANNOT_LOAD = """
import torch

if not torch.library.Library.called:
    raise RuntimeError("operator torchvision::nms does not exist")
from torchvision import ops
"""


def of_torchvision() -> list[str]:
    return [name for name in [*sys.modules] if name.partition(".")[0] == "torchvision"]


@pytest.fixture
def unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torchvision that only imports once somebody has defined its operators."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(CANNOT_LOAD)
    (tmp_path / "torchvision" / "ops.py").write_text("")
    for name in of_torchvision():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.library, "Library", Mock())
    yield
    for name in of_torchvision():
        del sys.modules[name]


@pytest.mark.usefixtures("unfit")
def test_it_is_imported_once_and_whole() -> None:
    """An import that failed would leave half a module to a thread that imports it meanwhile."""
    import_torchvision()
    assert sys.modules["torchvision"].ops.nms is suppress


@pytest.mark.usefixtures("unfit")
def test_operators_that_do_not_load_are_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "torchvision" / "_C.so").write_bytes(b"of another build")
    import_torchvision()
    assert sys.modules["torchvision"].ops.nms is suppress
