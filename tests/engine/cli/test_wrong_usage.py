"""A command line that cannot be read: one line that says what is wrong, and where to look."""

import pytest
from click.testing import CliRunner

from engine.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean 'status'? See penstock --help"),
        (["--jsn"], "No such option '--jsn'; see penstock --help"),
        (
            ["status", "--jsno", "x"],
            "No such option '--jsno'. Did you mean '--json'? See penstock status --help",
        ),
        (["status"], "Missing argument 'DIR'; see penstock status --help"),
        (["status", "a", "b"], "Got unexpected extra argument (b); see penstock status --help"),
        (["report", "--out"], "Option '--out' requires an argument; see penstock report --help"),
        (["recipe", "a.mp4", "--prompt", ""], "the value of --prompt is empty; give one, or leave"),
        (["crawl", "a.mp4", "--out", ""], "the value of --out is empty"),
        (["crawl", "--from="], "the value of --from is empty"),
        (["serve", "--profile", " "], "the value of --profile is empty"),
        (["worker", "--root=", "--name", "x"], "the value of --root is empty"),
        (["status", ""], "what follows 'status' is empty"),
        (["bench", "crwal"], "No such command 'crwal'. Did you mean 'crawl'? See penstock bench"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], told: str) -> None:
    ran = CliRunner().invoke(main, arguments, prog_name="penstock")
    assert ran.exit_code == 2
    assert ran.stdout == ""
    [line] = ran.stderr.splitlines()
    assert line.startswith(f"penstock: {told}")


def test_a_command_without_anything_shows_its_help() -> None:
    for arguments in ([], ["bench"], ["crawl"]):
        ran = CliRunner().invoke(main, arguments, prog_name="penstock")
        assert ran.exit_code == 2
        assert ran.output.startswith("Usage: penstock")
