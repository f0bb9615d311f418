"""Every benchmark once, small and short: shows that they run, and never to be quoted.

python -m benchmarks.quick                  # all of them
python -m benchmarks.quick dedup_speed      # these
"""

import subprocess
import sys
import time
from pathlib import Path


def benchmarks() -> list[str]:
    """The names of the modules here that are benchmarks: those that take the harness's options."""
    here = Path(__file__)
    return sorted(
        path.stem
        for path in here.parent.glob("*.py")
        if path != here and "parser(__doc__" in path.read_text()
    )


def main() -> None:
    failed = []
    for name in sys.argv[1:] or benchmarks():
        print(f"=== {name}", flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--quick"])
        print(f"=== {name}: {time.monotonic() - began:.0f} s\n", flush=True)
        if done.returncode != 0:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
