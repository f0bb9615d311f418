"""The service that `benchmarks/serve_load.py` posts to: one stage that does next to nothing.

python -m benchmarks.small_service WORKDIR
"""

import sys
from pathlib import Path

from engine import SOURCE, Item, JobProfile, Pipeline, Port, Stage, Step, execute, load_config
from stages.serve.service import ServiceOptions, served
from stages.service.profiles import ServedProfiles

MOST = 100_000
"""Jobs that may be under way: the benchmark posts faster than they are done."""


class Small(Stage):
    """Write a line."""

    def process(self, item: Item, out: Path) -> None:
        (out / "records.jsonl").write_text(f'{{"item": "{item.id}"}}\n')


def main() -> None:
    workdir, port = Path(sys.argv[1]), Port(0)
    pipeline = Pipeline("small", "One stage that does next to nothing.", [Step(Small, SOURCE)])
    config = load_config(pipeline, None, {}, ["limits.free_disk=0"], {})
    profiles = ServedProfiles({"small": (JobProfile("small", pipeline, config), {})})
    print(port.url, flush=True)
    with served(profiles, workdir, port, ServiceOptions(at_once=8, most_jobs=MOST)) as source:
        code = execute(
            *(pipeline, config, workdir, source),
            quiet=True,
            log_json=None,
            listeners=[source],
            resident=True,
        )
    sys.exit(code)


if __name__ == "__main__":
    main()
