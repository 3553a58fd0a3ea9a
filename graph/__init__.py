"""From a request to a response: settings, live objects, nodes and edges, and what happens around.

Importing the package, or a module of it, has no effect. `from graph import handle_chat`, or another
of the names below, imports `graph.app`, which makes this process's pipeline from its environment.
`settings` and `pipeline` are modules of this package, too; `graph.app` names the objects for sure.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.app import drain, graph, handle_chat, pipeline, settings, stream_chat

__all__ = ["drain", "graph", "handle_chat", "pipeline", "settings", "stream_chat"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from graph import app

    globals().update({each: getattr(app, each) for each in __all__})
    return globals()[name]
