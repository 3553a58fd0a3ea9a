"""The pipeline of this process: `graph` for LangGraph Studio, `handle_chat` for everyone else.

Importing it reads the settings and compiles the graph; models and indexes are loaded on first use.
"""

from graph.light import uncollected

with uncollected():
    from graph.pipeline import Pipeline
    from graph.services import make_services
    from graph.settings import load_settings

    settings = load_settings()
    pipeline = Pipeline(make_services(settings))

graph = pipeline.graph
handle_chat = pipeline.chat
stream_chat = pipeline.stream
drain = pipeline.drain

__all__ = ["drain", "graph", "handle_chat", "pipeline", "settings", "stream_chat"]
