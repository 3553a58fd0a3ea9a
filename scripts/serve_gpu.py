"""Entrypoint of the GPU image: `vllm serve` on loopback, then the worker that talks to it.

With `IYAGI_LLM=huggingface` the worker runs alone, with the model in its own process. Weights are
looked for where Runpod caches them, then in the image, then on the network volume; unless
`HF_HUB_OFFLINE` is set, vLLM downloads what is nowhere.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from graph.settings import Settings, load_settings
from schemas.errors import SettingsError
from schemas.terminal import in_terminal

CACHED = Path("/runpod-volume/huggingface-cache/hub")
BAKED = Path("/models")
VOLUME = Path("/runpod-volume/models")

DRAIN = 600.0
"""Seconds that a worker may take to finish its jobs; each has a deadline of its own."""


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
    """`vllm serve` for a model: under its public name, for this machine only."""
    return [
        *("vllm", "serve", str(path or model), "--served-model-name", model),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
        *shlex.split(more),
    ]


def worker_env(model: str, url: str, env: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: the server beside it, unless the operator says otherwise.

    The SDK's own checks of the GPU are left out: vLLM has just proved it, and holds its memory.
    """
    return {
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "IYAGI_LLM_URL": f"{url}/v1",
        "IYAGI_LLM_MODELS": model,
        **env,
        "IYAGI_LLM": "openai",
    }


def wait_for_health(server: subprocess.Popen[bytes], url: str, seconds: float) -> str | None:
    """Waits until the server is ready; why it will not be, or None."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if (code := server.poll()) is not None:
            return f"vllm serve ended with exit code {code} before it was ready; its log is above"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return None
        except OSError:
            time.sleep(0.5)
    return f"vllm serve was not ready after {seconds:g} s; raise IYAGI_VLLM_STARTUP_TIMEOUT"


def watch(server: subprocess.Popen[bytes], worker: subprocess.Popen[bytes]) -> int:
    """Waits for either to end; a worker without its server finishes its jobs and is replaced."""
    while worker.poll() is None and server.poll() is None:
        time.sleep(0.2)
    if worker.poll() is None:
        print("vllm serve has ended: this worker ends", file=sys.stderr, flush=True)
        end(worker, DRAIN)
        return 1
    return worker.returncode if server.poll() is None else worker.returncode or 1


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Asks a process to end, and makes it end."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(settings: Settings, env: Mapping[str, str]) -> int:
    """Starts both and stays until one of them ends; the exit code."""
    model = settings.llm_models[0]
    path = weights(model)
    if path is None and env.get("HF_HUB_OFFLINE") == "1":
        raise SettingsError(
            f"no weights of {model} in the model cache, in {BAKED} or in {VOLUME}, and "
            "HF_HUB_OFFLINE=1 forbids the download"
        )
    url = f"http://127.0.0.1:{settings.vllm_port}"
    command = vllm_command(model, path, settings.vllm_port, settings.vllm_args)
    server = subprocess.Popen(command, env=dict(env))
    try:
        if why := wait_for_health(server, url, settings.vllm_startup_timeout):
            print(f"error: {why}", file=sys.stderr, flush=True)
            return 1
        worker = subprocess.Popen(
            [sys.executable, "-m", "handler", *sys.argv[1:]], env=worker_env(model, url, env)
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # the worker drains; then both have ended
            signal.signal(number, lambda *_: worker.terminate())
        return watch(server, worker)
    finally:
        end(server, 30)


def main() -> int:
    """0 after SIGTERM, 1 where the worker is to be replaced, 2 for a fault of the environment."""
    env = dict(os.environ)
    if env.get("IYAGI_LLM") == "huggingface":
        os.execv(sys.executable, [sys.executable, "-m", "handler", *sys.argv[1:]])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until there is a worker to drain
    os.environ.setdefault("IYAGI_LLM_URL", "the server beside it")  # the worker is told which
    os.environ["IYAGI_LLM"] = "openai"
    try:
        return run(load_settings(), env)
    except SettingsError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(in_terminal(main))
