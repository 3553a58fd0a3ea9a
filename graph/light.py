"""Imports LangGraph and LangChain without what a turn never uses.

Both import clients of services, and build what those would need. Processor milliseconds that each
part spares of 1,330 for `import graph`, least of eight on 2 busy cores; all together it is 370:

    110   langsmith.types: LangChain needs one list of names, the package is 200 files of a REST API
     80   langgraph_sdk: LangGraph needs one type of it, the package is the client of a remote graph
     70   schemas of pydantic models, of langsmith above all: built when a model is first used
     30   looking for garbage among what has just been imported

Nothing is replaced: whoever uses one of these parts later, such as LangSmith's tracing, imports or
builds it then. What a host has imported before, such as LangGraph's server, stays as it is.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec

from pydantic import BaseModel


@contextmanager
def bare(*packages: str) -> Iterator[None]:
    """Within it, modules of these packages can be imported without running the packages' own code.

    Afterwards the packages count as not imported yet, so that the next import runs them.

    Args:
        packages: dotted names.

    Raises:
        ModuleNotFoundError: one is not installed.
    """
    made = [name for name in packages if name not in sys.modules]
    for name in made:
        sys.modules[name] = module_from_spec(_spec(name))
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _spec(name: str) -> ModuleSpec:
    """Where a module is; unlike `importlib.util.find_spec`, this imports no package around it."""
    above, _, _ = name.rpartition(".")
    spec = PathFinder.find_spec(name, _spec(above).submodule_search_locations if above else None)
    if spec is None:
        raise ModuleNotFoundError(f"no module {name!r}; install what requirements.lock names")
    return spec


@contextmanager
def deferred_models() -> Iterator[None]:
    """Within it, pydantic models are declared, and built when they are first used."""
    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, no garbage is looked for: what is imported is none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


with (
    bare("langsmith.types", "langgraph_sdk", "langgraph_sdk.auth"),
    deferred_models(),
    uncollected(),
):
    import langchain_core.language_models  # noqa: F401
    import langgraph.graph  # noqa: F401
