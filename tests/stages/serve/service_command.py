"""A service in a process of its own, to be killed: python -m … WORKDIR. It prints its address."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from engine import Item, Port, execute, note_paid_request
from stages.serve.service import ServiceOptions, served
from tests.engine.toys import Toy, line, toy
from tests.stages.serve.serving import profiles_of


class Held(Toy):
    """Waits until a file `go` is in the work folder. The first attempt of all pays for an answer,
    which is kept in a file `answer`."""

    def act(self, item: Item, out: Path) -> Any:
        answer = self.workdir / "answer"
        if not answer.exists():
            note_paid_request()
            answer.touch()
        while not (self.workdir / "go").exists():
            time.sleep(0.005)
        return super().act(item, out)


def main() -> None:
    workdir, port = Path(sys.argv[1]), Port(0)
    click.echo(port.url)
    profiles = profiles_of(line(toy("a"), toy("b", "a", base=Held)))
    with served(profiles, workdir, port, ServiceOptions(at_once=2)) as source:
        code = execute(
            *(profiles.pipeline, profiles.config, workdir, source),
            quiet=True,
            log_json=None,
            listeners=[source],
            resident=True,
        )
    sys.exit(code)


if __name__ == "__main__":
    main()
