"""What the help says of each command without loading it is what the command says of itself."""

import sys
from pathlib import Path

import pytest

from engine.cli.listing import listed
from engine.cli.main import main
from engine.contract import registry

WIDTH = 70


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group, name)
        for group in (registry.PIPELINES, registry.COMMANDS)
        for name in registry.names(group)
    ],
)
def test_it_says_what_the_loaded_one_says(group: str, name: str) -> None:
    loaded, told = main.get_command(None, name), listed(group, name)  # type: ignore[arg-type]
    assert loaded is not None
    assert told is not None
    assert told.get_short_help_str(WIDTH) == loaded.get_short_help_str(WIDTH)


@pytest.mark.parametrize(
    "source",
    [
        "p = Pipeline(name='p', summary=TEXT, steps=[])",
        "import click\n@click.command(short_help='Otherwise.')\ndef p():\n    '''Does it.'''",
        "import click\n@click.command(hidden=True)\ndef p():\n    '''Does it.'''",
        "from elsewhere import p",
        "p = (",
    ],
)
def test_what_the_source_does_not_say_is_left_to_the_loaded_one(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unplain.py").write_text(source)
    about = tmp_path / "unplain-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: unplain\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[penstock.commands]\np = unplain:p\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.place(registry.COMMANDS, "p") == "unplain:p"
    assert listed(registry.COMMANDS, "p") is None
    assert "unplain" not in sys.modules
