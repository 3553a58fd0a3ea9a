"""Is the GPU alive, asked where a model runs in this process.

After a CUDA fault (an illegal address, a device-side assert) every further call of the process
fails, until it is replaced. Memory that ran out, or a request that cannot be computed, is no such
fault: the GPU answers again. So not the error's words decide, but the GPU itself.
"""

from __future__ import annotations

import sys
from typing import Any


def is_broken() -> bool:
    """Whether the GPU that this process uses answers no more; False without one. Blocks briefly."""
    torch: Any = sys.modules.get("torch")  # not loaded: no model runs here
    if torch is None:
        return False
    try:
        if not torch.cuda.is_initialized():
            return False
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
