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
    assert re.fullmatch(r"VLLM_VERSION=v\d+\.\d+\.\d+", arguments("", "ARG")[0])


def test_the_variables_of_the_images_are_settings() -> None:
    known = {f"IYAGI_{name.upper()}" for name in Settings.model_fields}
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    used = set(re.findall(r"IYAGI_\w+", str(STAGES) + str(compose) + str(HUB) + str(TESTS)))
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


HUB = json.loads((ROOT / ".runpod" / "hub.json").read_text(encoding="utf-8"))
TESTS = json.loads((ROOT / ".runpod" / "tests.json").read_text(encoding="utf-8"))

HUB_FIELDS = {"title", "description", "type", "category", "iconUrl", "config"}
CONFIG_FIELDS = {
    *("runsOn", "endpointType", "containerDiskInGb", "gpuCount", "gpuIds", "cpuFlavor"),
    *("allowedCudaVersions", "presets", "env"),
}
INPUT_FIELDS = {
    *("name", "type", "description", "default", "required", "options", "min", "max"),
    *("trueValue", "falseValue", "advanced"),
}


def test_the_hub_file_has_the_documented_fields() -> None:
    assert set(HUB) == HUB_FIELDS and HUB["type"] == "serverless"
    assert HUB["category"] in ("audio", "embedding", "language", "video", "image")
    config = HUB["config"]
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
