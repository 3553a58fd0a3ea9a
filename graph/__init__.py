"""The pipeline of this process: `graph` for LangGraph Studio, `handle_chat` for everyone else.

Importing it reads the settings and compiles the graph; models and indexes are loaded on first use.
"""

import os
import sys

from graph.light import uncollected

# A product of a turn takes less than a millisecond. OpenBLAS splits it among the cores and waits
# for each of them by spinning: 20 ms where they do other work. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A thread that embeds asks for the interpreter between its steps of a millisecond, and would wait
# 5 ms each time while another thread computes: with 64 users at once, the slowest turns wait half
# as long now.
sys.setswitchinterval(0.0005)

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
