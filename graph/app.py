"""The pipeline of this process: `graph` for LangGraph Studio, `handle_chat` for everyone else.

The one module whose import has effects: it reads the environment and compiles the graph. Models and
indexes are loaded on first use.
"""

import gc
import os

# A product of a turn takes less than a millisecond. OpenBLAS splits it among the cores and waits
# for each of them by spinning: 20 ms where they do other work. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

gc.disable()  # what is imported is no garbage: 50 ms of looking through it
try:
    from graph.pipeline import Pipeline
    from graph.services import make_services
    from graph.settings import load_settings

    settings = load_settings()
    pipeline = Pipeline(make_services(settings))
finally:
    gc.enable()

graph = pipeline.graph
handle_chat = pipeline.chat
stream_chat = pipeline.stream
drain = pipeline.drain
