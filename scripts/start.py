"""Entrypoint of the worker's image: answers the jobs of Runpod's queue, or, on a load-balancing
endpoint, requests over HTTP. The image is the same; the platform's environment says which."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence


def program(env: Mapping[str, str], flags: Sequence[str] = ()) -> list[str]:
    """The module that serves, with its arguments.

    Only a load-balancing endpoint tells a port for health checks. Its `PORT` alone counts where no
    queue is told: other platforms say the port so, too.

    Args:
        env: the platform's environment.
        flags: arguments of this program. They are the queue worker's, and choose it.
    """
    balanced = env.get("PORT_HEALTH") or (env.get("PORT") and not env.get("RUNPOD_WEBHOOK_GET_JOB"))
    return ["-m", "server"] if balanced and not flags else ["-m", "handler", *flags]


if __name__ == "__main__":
    os.execv(sys.executable, [sys.executable, *program(os.environ, sys.argv[1:])])
