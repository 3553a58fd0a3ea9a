"""The pipeline of this process: `graph` for LangGraph Studio, `handle_chat` for everyone else.

Importing it reads the settings and compiles the graph; models and indexes are loaded on first use.
"""

import os

from graph.light import uncollected

# A product of a turn takes less than a millisecond. OpenBLAS splits it among the cores and waits
# for each of them by spinning: 20 ms where they do other work. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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
