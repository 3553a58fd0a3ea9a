"""Starts the Runpod worker: flags, checks, and the SDK's loop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import itertools
import logging
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from schemas.errors import EmbeddingError, LLMError, StoreError, traced
from worker import health, job_list
from worker.job_loop import JobLoop, advertised, pause_after
from worker.results import Addresses, Results

if TYPE_CHECKING:
    from worker.dispatch import Dispatcher

log = logging.getLogger(__name__)

WARM_UP = 120.0
"""Seconds for an embedding server to start beside the worker: it loads a model of some GB."""


def flags() -> argparse.ArgumentParser:
    """The SDK's flags, spelt out: the SDK would take `--t` for `--test_input`."""
    parse = argparse.ArgumentParser(
        prog="python -m handler",
        description="Serve jobs; started by Runpod's environment or by --rp_serve_api.",
        allow_abbrev=False,
    )
    parse.add_argument("--rp_serve_api", action="store_true", help="serve on a local port instead")
    parse.add_argument("--rp_api_port", type=int, help="default: 8000")
    parse.add_argument("--rp_api_host", help="default: localhost")
    parse.add_argument("--rp_log_level", choices=["ERROR", "WARN", "INFO", "DEBUG"])
    return parse


def serve(
    handler: Callable[..., Any], open_dispatcher: Callable[[], Dispatcher], argv: Sequence[str]
) -> NoReturn:
    """Takes jobs until the platform stops it; ends the process.

    Exit code 0 after SIGTERM, 1 where the worker is to be replaced, 2 for a wrong flag.

    Raises:
        SettingsError: the environment is at fault.
    """
    flags().parse_args(argv)
    dispatcher = open_dispatcher()
    from graph.app import settings

    sys.argv = [sys.argv[0], *argv]
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")  # below it, the SDK logs what users write
    os.environ.pop("RUNPOD_REALTIME_PORT", None)  # an SDK mode that fails for what streams
    runpod = _import_runpod()
    from runpod.serverless.modules import rp_http, rp_scale
    from runpod.serverless.modules.worker_state import WORKER_ID, JobsProgress

    gc.freeze()  # what is imported stays, and need not be looked through for garbage

    async def begin() -> None:
        if settings.warm_up:
            await warm_up(dispatcher)

    jobs = JobLoop(
        job_list.take,
        rp_scale.get_stop_signals,
        places=settings.worker_concurrency,
        jobs=lambda: JobsProgress().get_job_count(),
        begin=begin,
        settle=dispatcher.pipeline.drain,
        sweep=lambda: results.sweep(rp_scale.AsyncClientSession),
        watch=dispatcher.lag.watch,
        broken=health.gpu_is_broken,
    )
    results = Results(
        WORKER_ID,
        Addresses(rp_http.JOB_STREAM_URL_TEMPLATE, rp_http.JOB_DONE_URL_TEMPLATE),
        settings.index_dir / "results",
        patience=settings.job_deadline,
        stopping=jobs.stopping,
    )
    # The config keys for these are read in the SDK's tests only.
    rp_scale.get_job, rp_scale.get_stop_signals = jobs.fetch, jobs.fetch_stops
    rp_scale.handle_job = results.handle_job
    dispatcher.on_failure = jobs.suspect

    @runpod.serverless.register_fitness_check  # type: ignore[untyped-decorator]
    def index_folder_can_be_written() -> None:
        settings.index_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(settings.index_dir, os.W_OK):
            raise RuntimeError("IYAGI_INDEX_DIR cannot be written")

    places = advertised(settings.worker_concurrency)
    try:
        runpod.serverless.start(
            {
                "handler": handler,
                "return_aggregate_stream": True,
                "concurrency_modifier": lambda _current: places,
            }
        )
    except Exception as error:  # noqa: BLE001 - the SDK would print what it says
        log.critical("the worker ends by a fault of its own\n%s", traced(error))
        _end(1)
    _end(jobs.exit_code)


async def warm_up(dispatcher: Dispatcher) -> None:
    """Answers a turn for nobody. Waits for an embedder or a store that may soon be there, since no
    job can be answered without; then, and without a language model, jobs are taken all the same.

    Raises:
        IyagiError: the worker cannot answer, and waiting does not help.
    """
    begun = time.monotonic()
    for failures in itertools.count():
        try:
            return await dispatcher.warm_up()
        except LLMError as error:  # it was tried often enough, and may be back for the first job
            return log.warning("the warm-up turn had no reply: %s", error.message)
        except (EmbeddingError, StoreError) as error:
            if not error.retryable:
                raise
            if time.monotonic() - begun > WARM_UP:
                return log.warning("the warm-up turn failed for good: %s", error.message)
            if not failures:
                log.warning("the warm-up waits, for up to %g s: %s", WARM_UP, error.message)
        await asyncio.sleep(pause_after(failures))


def _import_runpod() -> types.ModuleType:
    """The SDK, without the processor's name that its debugger asks for (1 s), and without a look
    for notebooks, which imports IPython (0.1 s)."""
    import cpuinfo

    cpuinfo.get_cpu_info = lambda: {"brand_raw": "unknown"}
    os.environ.setdefault("TQDM_LOGGABLE_FORCE", "logging")
    return importlib.import_module("runpod")


def _end(code: int) -> NoReturn:
    """Ends now: threads of a dead engine would keep the interpreter, and the SDK's ping alive."""
    for child in multiprocessing.active_children():
        child.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
