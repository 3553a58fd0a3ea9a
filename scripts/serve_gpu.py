"""Entrypoint of the GPU image: `vllm serve` on loopback, and the worker that talks to it.

Jobs are taken when vLLM is ready. On a load-balancing endpoint the worker starts at once instead:
it is asked all the time how it is, and says that it is not ready. With `IYAGI_LLM=huggingface` the
worker runs alone, with the model in its own process.

Weights are looked for where Runpod caches them, then in the image, then on the network volume;
unless `HF_HUB_OFFLINE` is set, vLLM downloads what is nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graph.settings import Settings, load_settings
from schemas.errors import SettingsError
from schemas.terminal import in_terminal
from scripts.start import program

MOUNTED = Path("/runpod-volume")
CACHED = MOUNTED / "huggingface-cache" / "hub"
BAKED = Path("/models")
VOLUME = MOUNTED / "models"

COMPILED = 2_000_000_000
"""Bytes of compiled code beyond which no more is kept on the volume: what one model with one set of
arguments needs is far below, and each other model, argument or release of vLLM adds as much."""

STOPS = "32"
"""Stop strings that vLLM is told to take: from 0.28 on it refuses more than 4 otherwise."""

DRAIN = 60.0
"""Seconds beyond the deadline of a job that a worker may take to finish its jobs."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Asked:
    """Whether this process was asked to end."""

    to_end = False

    def __call__(self, *_: object) -> None:
        """As a signal's handler: it may come at any moment, so that it only takes note, and who
        waits looks at it."""
        self.to_end = True


class CompiledCode:
    """What vLLM compiles for a model, kept on the endpoint's network volume for the next worker.

    vLLM itself tells apart for which GPU, release and arguments it compiled. Weights are not kept
    so: they are read where they lie, and a copy would take their size twice.
    """

    def __init__(self, env: Mapping[str, str], mounted: Path) -> None:
        """
        Args:
            env: `VLLM_CACHE_ROOT` is where vLLM writes; one on the volume needs no copy.
            mounted: where the platform mounts the volume; without one, nothing is kept.
        """
        root = Path(env.get("VLLM_CACHE_ROOT") or mounted)
        self._folder = root / "torch_compile_cache"
        self._mirror: Any = None
        if mounted.is_dir() and not root.is_relative_to(mounted):
            from runpod.serverless import VolumeCache  # 1.5 s

            endpoint = env.get("RUNPOD_ENDPOINT_ID")
            self._mirror = VolumeCache([self._folder], namespace=endpoint, volume_path=str(mounted))

    def fetch(self) -> None:
        """Copies it from the volume; what fails is compiled again."""
        if self._mirror:
            self._mirror.hydrate()

    def keep(self) -> None:
        """Copies what is new to the volume, in the background, unless it is too much."""
        if not self._mirror:
            return
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        if sum(path.stat().st_size for path in files) <= COMPILED:
            self._mirror.sync()
        else:
            print("too much compiled code to keep: empty .cache on the volume", file=sys.stderr)


def weights(model: str, places: tuple[Path, Path, Path] = (CACHED, BAKED, VOLUME)) -> Path | None:
    """The folder of a model such as `org/name`, or None where it is nowhere.

    Args:
        model: its name on Hugging Face.
        places: the platform's cache, laid out as Hugging Face's; then folders with one per model,
            named `org--name`.
    """
    cached, baked, volume = places
    flat = model.replace("/", "--")
    snapshots = list((cached / f"models--{flat}" / "snapshots").glob("*/"))
    snapshots.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    candidates = [*snapshots, baked / flat, volume / flat]
    return next((path for path in candidates if (path / "config.json").is_file()), None)


def vllm_command(model: str, path: Path | None, port: int, more: str) -> list[str]:
    """`vllm serve` for a model: under its public name, for this machine only.

    Raises:
        SettingsError: `more` cannot be split as a shell would.
    """
    try:
        given = shlex.split(more)
    except ValueError as error:
        raise SettingsError(f"IYAGI_VLLM_ARGS: {str(error).lower()}") from None
    return [
        *("vllm", "serve", str(path or model), "--served-model-name", model),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
        *given,
    ]


def vllm_env(env: Mapping[str, str]) -> dict[str, str]:
    """The server's environment."""
    return {**env, "VLLM_MAX_STOP_STRINGS": env.get("VLLM_MAX_STOP_STRINGS") or STOPS}


def worker_env(model: str, url: str, env: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: the server beside it, unless the operator says otherwise.

    The SDK's own checks of the GPU are left out: vLLM has just proved it, and holds its memory.
    """
    ours = {
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "IYAGI_LLM_MODELS": model,
    }
    if not env.get("IYAGI_LLM_URL"):
        ours |= {
            "IYAGI_LLM_URL": f"{url}/v1",
            "IYAGI_LLM_STOPS": vllm_env(env)["VLLM_MAX_STOP_STRINGS"],
        }
    chosen = {name: env.get(name) or value for name, value in ours.items()}
    proxied = env.get("no_proxy") or env.get("NO_PROXY")
    direct = f"{proxied},127.0.0.1" if proxied else "127.0.0.1"
    return {**env, **chosen, "no_proxy": direct, "IYAGI_LLM": "openai"}


def wait_for_health(
    server: subprocess.Popen[bytes],
    url: str,
    seconds: float,
    asked: Asked,
    worker: subprocess.Popen[bytes] | None = None,
) -> str | None:
    """Waits until the server is ready, or the wait is called off, also by the end of a worker that
    runs already; why the server will not be ready, or None."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if asked.to_end or (worker and worker.poll() is not None):
            return None
        if (code := server.poll()) is not None:
            return f"vllm serve ended with exit code {code} before it was ready; its log is above"
        try:
            with _direct(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return None
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.5)
    return f"vllm serve was not ready after {seconds:g} s; raise IYAGI_VLLM_STARTUP_TIMEOUT"


def watch(
    server: subprocess.Popen[bytes], worker: subprocess.Popen[bytes], drain: float, asked: Asked
) -> int:
    """Waits for either to end; the exit code. A worker that is asked to end, or whose server is
    gone, finishes its jobs first, which in the second case may take so many seconds."""
    told = False
    while worker.poll() is None and server.poll() is None:
        if asked.to_end and not told:
            worker.terminate()
            told = True
        time.sleep(0.2)
    if worker.poll() is None:
        print("vllm serve has ended: this worker ends", file=sys.stderr, flush=True)
        end(worker, drain)
    if worker.returncode:
        return max(worker.returncode, 1)  # below 0: by a signal
    return 0 if asked.to_end or server.poll() is None else 1


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Asks a process to end, and makes it end."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(settings: Settings, env: Mapping[str, str], asked: Asked) -> int:
    """Starts both and stays until one of them ends, or it is asked to end; the exit code."""
    model = settings.llm_models[0]
    path = weights(model)
    # as Hugging Face reads it
    if path is None and env.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise SettingsError(
            f"no weights of {model} in the model cache, in {BAKED} or in {VOLUME}, and "
            "HF_HUB_OFFLINE forbids the download"
        )
    url = f"http://127.0.0.1:{settings.vllm_port}"
    command = vllm_command(model, path, settings.vllm_port, settings.vllm_args)
    serving = [sys.executable, *program(env, sys.argv[1:])]
    balanced = "server" in serving
    if balanced:
        serving += ["--wait", f"{settings.vllm_startup_timeout:.0f}"]
    drain = settings.job_deadline + DRAIN
    compiled = CompiledCode(env, MOUNTED)
    compiled.fetch()
    with contextlib.ExitStack() as running:

        def start(command: list[str], env: dict[str, str], grace: float) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, env=env)
            running.callback(end, process, grace)
            return process

        try:
            server = start(command, vllm_env(env), 30)
        except FileNotFoundError:
            raise SettingsError("there is no vllm here; this starts the GPU image") from None
        worker = None
        if balanced:
            worker = start(serving, worker_env(model, url, env), drain)
        if why := wait_for_health(server, url, settings.vllm_startup_timeout, asked, worker):
            print(f"error: {why}", file=sys.stderr, flush=True)
            return 1
        if worker is None:
            if asked.to_end:
                return 0
            worker = start(serving, worker_env(model, url, env), drain)
        if not asked.to_end and worker.poll() is None:  # else it may be half written
            compiled.keep()
        return watch(server, worker, drain, asked)


def main() -> int:
    """0 after SIGTERM or Ctrl-C, 1 where the worker is to be replaced, 2 for a fault of the
    environment."""
    env, asked = dict(os.environ), Asked()
    if env.get("IYAGI_LLM") == "huggingface":
        os.execv(sys.executable, [sys.executable, *program(env, sys.argv[1:])])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    if not env.get("IYAGI_LLM_URL"):
        os.environ["IYAGI_LLM_URL"] = "the server beside it"  # the worker is told which
    os.environ["IYAGI_LLM"] = "openai"
    try:
        return run(load_settings(), env, asked)
    except SettingsError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(in_terminal(main))
