"""This process's standard input, for a source to read."""

import os
from typing import BinaryIO


def standard_input() -> BinaryIO:
    """This process's standard input, for a source to read.

    Not `sys.stdin`: a thread that is left blocked in that aborts the process when Python ends.
    """
    return os.fdopen(os.dup(0), "rb")
