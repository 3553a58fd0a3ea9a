"""What the terminal does when nobody reads on, as after `| head`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def until_hung_up(run: Callable[[], int]) -> int:
    """Runs a command that prints, and ends it quietly where its reader has gone.

    Returns:
        Its exit code; 1 where the reader has gone, as Python itself has it.
    """
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is unsent
        return 1
