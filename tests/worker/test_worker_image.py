"""The image, as far as it can be proved without a container engine; and the hub's files."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph.settings import ROOT, Settings
from llm.presets import preset_for, presets
from scripts import serve_gpu
from scripts.start import program

CUDA = {"0.33.0": "13.0"}
"""What CUDA an image of vLLM is built for: `CUDA_VERSION` in its docker/versions.json. A new pin
needs a row here, and then the listings its versions."""

RUNPOD = ROOT / ".runpod"
HUBS = {
    path.parent.name: json.loads(path.read_text(encoding="utf-8"))
    for path in (RUNPOD / "hub.json", RUNPOD / "load-balancing" / "hub.json")
}
TESTS = json.loads((RUNPOD / "tests.json").read_text(encoding="utf-8"))

INSTRUCTION = re.compile(r"^(FROM|COPY|RUN|CMD|ENTRYPOINT|USER|ENV|ARG|WORKDIR)\s+(.*)$")


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's stages: name to (instruction, arguments)."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for line in text.splitlines():
        if match := INSTRUCTION.match(line.strip()):
            if match[1] == "FROM":
                name = match[2].split(" AS ")[1]
                found[name] = []
            found[name].append((match[1], match[2]))
        else:
            assert not line.strip(), f"not understood: {line}"
    return found


STAGES = stages()


def arguments(stage: str, instruction: str) -> list[str]:
    return [text for name, text in STAGES[stage] if name == instruction]


def copied(stage: str) -> list[str]:
    """What a stage copies from the repository."""
    return [text.split()[0] for text in arguments(stage, "COPY") if "--from" not in text]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path into the build; the last rule that matches decides."""
    kept = True
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").removeprefix("**/")
        parents = [path, *map(str, Path(path).parents), Path(path).name]
        if any(fnmatch.fnmatch(part, pattern) for part in parents if part != "."):
            kept = rule.startswith("!")
    return kept


def test_everything_that_is_copied_exists_and_is_in_the_context() -> None:
    for stage in STAGES:
        for path in copied(stage):
            assert (ROOT / path).exists() and in_context(path), path
    private = (".env", "graph/.env", "data/indexes", "data/indexes/chroma")
    for path in (*private, "tests", "lab", "benchmarks", ".git"):
        assert not in_context(path), path


@pytest.mark.parametrize("stage", ["worker", "gpu"])
def test_the_images_are_pinned_not_root_and_start_without_a_shell(stage: str) -> None:
    [base] = arguments(stage, "FROM")
    assert re.search(r":(\d+\.\d+\.\d+-|\$\{VLLM_VERSION\})", base)
    assert arguments(stage, "USER") == ["iyagi"]
    assert STAGES[stage].index(("USER", "iyagi")) > max(
        row for row, (name, _) in enumerate(STAGES[stage]) if name in ("COPY", "RUN")
    )
    assert isinstance(json.loads(arguments(stage, "CMD")[0]), list)
    assert "RUNPOD_LOG_LEVEL=INFO" in " ".join(arguments(stage, "ENV"))
    install = arguments(stage, "RUN")[0]
    assert "--mount=type=cache" in install and "--require-hashes" in install
    assert not re.search(r"(TOKEN|KEY|SECRET|PASSWORD)\s*=", str(STAGES[stage]))


def release(text: str) -> tuple[int, ...]:
    """A release of vLLM, to compare."""
    return tuple(map(int, text.split(".")))


[PINNED] = re.findall(r"^VLLM_VERSION=v(\d+\.\d+\.\d+)$", "\n".join(arguments("", "ARG")), re.M)


def test_the_pins_of_vllm_agree() -> None:
    """The image's, the one of compose.yaml, and those of the pages."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["vllm"]["image"] == f"vllm/vllm-openai:v{PINNED}"
    for path in (*(ROOT / "docs").glob("*.md"), *ROOT.glob("README*.md")):
        named = re.findall(
            r"(?:vllm-openai:|VLLM_VERSION=)v(\S+)", path.read_text(encoding="utf-8")
        )
        assert {*named} <= {PINNED}, path.name


def test_the_image_runs_every_model_of_the_table() -> None:
    served = [row for row in presets() if row.gpu_gb]
    assert served
    for row in served:
        assert re.fullmatch(r"\d+\.\d+\.\d+", row.vllm), f"{row.name}: which vLLM runs it first?"
        assert release(row.vllm) <= release(PINNED), f"{row.name} needs vLLM {row.vllm}"


def test_the_listings_ask_for_the_cuda_of_the_image() -> None:
    """The driver's version is no older than the one that the pinned vLLM is built for, and all
    files ask for the same ones; the page says which."""
    asked = [file["config"]["allowedCudaVersions"] for file in (*HUBS.values(), TESTS)]
    assert all(versions == asked[0] for versions in asked)
    assert min(map(release, asked[0])) == release(CUDA[PINNED])
    assert f"CUDA {CUDA[PINNED]}" in (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_the_stop_strings_of_the_server_and_of_the_worker_agree() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    server, worker = (compose["services"][name]["environment"] for name in ("vllm", "worker"))
    assert server["VLLM_MAX_STOP_STRINGS"] == worker["IYAGI_LLM_STOPS"] == serve_gpu.STOPS


def test_the_variables_of_the_images_are_settings() -> None:
    known = {f"IYAGI_{name.upper()}" for name in Settings.model_fields}
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    used = set(re.findall(r"IYAGI_\w+", str(STAGES) + str(compose) + str(HUBS) + str(TESTS)))
    assert used <= known


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image holds, and no more."""
    folder = tmp_path_factory.mktemp("image") / "app"
    for path in copied("app"):
        if (ROOT / path).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / path, folder / path, ignore=ignored)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    return folder


@pytest.mark.parametrize(
    ("env", "flags", "module"),
    [
        ({}, [], "handler"),
        ({"RUNPOD_WEBHOOK_GET_JOB": "https://queue"}, [], "handler"),
        ({"RUNPOD_WEBHOOK_GET_JOB": "https://queue", "PORT": "80"}, [], "handler"),
        ({"PORT": "80", "PORT_HEALTH": "80"}, [], "server"),
        ({"PORT": "8000"}, [], "server"),
        ({"PORT_HEALTH": "80", "RUNPOD_WEBHOOK_GET_JOB": "https://queue"}, [], "server"),
        ({"PORT": "", "PORT_HEALTH": ""}, [], "handler"),
        ({"PORT": "8000"}, ["--rp_serve_api"], "handler"),
    ],
)
def test_the_image_serves_the_kind_of_endpoint_that_it_is_in(
    env: dict[str, str], flags: list[str], module: str
) -> None:
    assert program(env, flags) == ["-m", module, *flags]


JOB = json.dumps({"input": {"message": "안녕?", "persona": {"name": "하늘"}, "stream": True}})


def start(python: str, app: Path, job: str = JOB) -> str:
    """The start step of the worker's image, in its folder, with one job."""
    command = json.loads(arguments("worker", "CMD")[0])[1:]
    done = subprocess.run(
        [python, *command, "--test_input", job],
        cwd=app, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_copied_is_enough_to_answer_a_job(app: Path) -> None:
    assert json.loads(start(sys.executable, app).splitlines()[-1])["type"] == "final"


def test_an_openai_client_finds_the_sample_characters(app: Path) -> None:
    for stage in ("worker", "gpu"):
        assert "IYAGI_CHARACTERS_DIR=/app/characters" in " ".join(arguments(stage, "ENV"))
    listed = json.loads(start(sys.executable, app, '{"input": {"openai_route": "/v1/models"}}'))
    names = [model["id"] for model in listed["data"]]
    assert {"Nell Harrow", "구봉숙"} <= set(names)
    body = {"model": "구봉숙", "messages": [{"role": "user", "content": "안녕하세요?"}]}
    answer = json.loads(start(sys.executable, app, json.dumps({"input": {"openai_input": body}})))
    assert answer["iyagi"]["response_contents"][0]["speaker"] == "구봉숙"


def test_the_gpu_entrypoint_is_in_the_image(app: Path) -> None:
    module = json.loads(arguments("gpu", "CMD")[0])[-1]
    code = f"import {module}, worker.serve, worker.dispatch"
    subprocess.run([sys.executable, "-c", code], cwd=app, check=True, timeout=60)


@pytest.mark.slow
def test_the_install_step_in_a_clean_environment(app: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    lock = str(ROOT / "requirements.lock")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        lock,
    ]
    subprocess.run(install, check=True, timeout=900)
    assert json.loads(start(python, app).splitlines()[-1])["type"] == "final"
    torch = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    assert torch.returncode != 0, "the worker's image is small"


HUB_FIELDS = {"title", "description", "type", "category", "iconUrl", "config"}
CONFIG_FIELDS = {
    *("runsOn", "endpointType", "containerDiskInGb", "gpuCount", "gpuIds", "cpuFlavor"),
    *("allowedCudaVersions", "presets", "env"),
}
INPUT_FIELDS = {
    *("name", "type", "description", "default", "required", "options", "min", "max"),
    *("trueValue", "falseValue", "advanced"),
}


@pytest.mark.parametrize("hub", HUBS.values(), ids=HUBS)
def test_the_hub_file_has_the_documented_fields(hub: dict[str, Any]) -> None:
    assert set(hub) == HUB_FIELDS and hub["type"] == "serverless"
    assert hub["category"] in ("audio", "embedding", "language", "video", "image")
    config = hub["config"]
    assert set(config) <= CONFIG_FIELDS and config["runsOn"] in ("GPU", "CPU")
    assert isinstance(config["containerDiskInGb"], int)
    assert all(re.fullmatch(r"-?[A-Z]+_\d+(_PRO)?", name) for name in config["gpuIds"].split(","))
    assert all(re.fullmatch(r"\d+\.\d", version) for version in config["allowedCudaVersions"])
    keys = [variable["key"] for variable in config["env"]]
    assert len(keys) == len(set(keys))
    for variable in config["env"]:
        given: dict[str, Any] = variable["input"]
        assert set(variable) == {"key", "input"} and set(given) <= INPUT_FIELDS
        assert given["type"] in ("string", "huggingface", "number", "boolean")
        assert ("min" not in given) or given["type"] == "number"
        assert ("trueValue" in given) == (given["type"] == "boolean")
    for preset in config["presets"]:
        assert set(preset) == {"name", "defaults"} and set(preset["defaults"]) <= set(keys)


@pytest.mark.parametrize("hub", HUBS.values(), ids=HUBS)
def test_the_presets_are_models_that_are_known_one_of_them_korean(hub: dict[str, Any]) -> None:
    """In the table, with weights that leave 40 % of the smallest GPU offered, 24 GB, to chats."""
    config = hub["config"]
    models = [preset["defaults"]["IYAGI_LLM_MODELS"] for preset in config["presets"]]
    rows = [preset_for(model) for model in models]
    assert [row.name for row in rows] == models
    assert any(row.languages[0] == "ko" for row in rows)
    [arguments] = [e["input"] for e in config["env"] if e["key"] == "IYAGI_VLLM_ARGS"]
    assert "--quantization fp8" in arguments["default"]
    sizes = [int(name.split("_")[1]) for name in config["gpuIds"].split(",")]
    assert all(row.gpu_gb["fp8"] <= 0.6 * min(sizes) for row in rows)


def test_the_load_balanced_listing_is_the_other_one_without_what_its_queue_needs() -> None:
    queue, balanced = (json.loads(json.dumps(HUBS[n])) for n in (".runpod", "load-balancing"))
    assert balanced["config"].pop("endpointType") == "LB"
    for file in (queue, balanced):
        del file["title"], file["description"]
        variables = file["config"]["env"]
        file["config"]["env"] = [e for e in variables if e["key"] != "IYAGI_WORKER_CONCURRENCY"]
    assert balanced == queue


def test_the_hubs_tests_have_the_documented_fields_and_inputs_that_are_understood() -> None:
    from openai_api.read import read_chat
    from schemas.request import ChatRequest
    from worker.dispatch import CHAT, read_job

    assert set(TESTS) == {"tests", "config"}
    assert set(TESTS["config"]) == {"gpuTypeId", "gpuCount", "env", "allowedCudaVersions"}
    assert all(set(variable) == {"key", "value"} for variable in TESTS["config"]["env"])
    for test in TESTS["tests"]:
        assert set(test) == {"name", "input", "timeout"} and 1000 <= test["timeout"] <= 600_000
        route, body = read_job(test)
        if route == CHAT:
            read_chat(body)
        elif not route:
            ChatRequest.model_validate({key: body[key] for key in body.keys() - {"stream"}})
