"""A home folder for a user who has none: no HOME, and no entry in the system's list of users.

Containers run as such users. Libraries keep settings and caches in a home, and many of them fail
where there is none.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def ensure_home() -> bool:
    """Whether the user has a home. If not, this process and its children get an empty one, which is
    removed when this process ends. Raises nothing."""
    try:
        Path.home()
    except RuntimeError:
        pass
    else:
        return True
    try:
        home = tempfile.mkdtemp(prefix="penstock-home-")
    except OSError:  # nowhere to write: code that needs a home reports it
        return False
    owner = os.getpid()
    atexit.register(_remove, home, owner)
    os.environ["HOME"] = home
    os.environ.setdefault("USER", str(os.getuid()))  # a look-up of the name finds no entry either
    return False


def _remove(home: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not remove its parent's home
        shutil.rmtree(home, ignore_errors=True)
