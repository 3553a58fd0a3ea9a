"""The environment of a process: the one file that reads it."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent

S = TypeVar("S", bound=BaseSettings)

_OWNED = re.compile(r"(?:(?P<owner>[\w.-]{1,50}):)?(?P<key>.+)")
"""A key of the HTTP server, and whose it is."""


def _is_path(kind: type[BaseSettings], name: str) -> bool:
    """Whether the field of this name is a path, or may be one."""
    field = kind.model_fields.get(name)
    return field is not None and Path in (field.annotation, *get_args(field.annotation))


def _not_blank(cls: type[BaseSettings], value: object, info: ValidationInfo) -> object:
    """The value; raises ValueError where it is a text of nothing."""
    if not isinstance(value, str) or value.strip():
        return value
    if _is_path(cls, str(info.field_name)):
        raise ValueError("is empty; name a file or folder, or leave the variable out")
    if value:
        raise ValueError("holds spaces only; give it a value, or leave it empty")
    return value  # a default


class Settings(BaseSettings):
    """What the operator decides, as `IYAGI_…` variables; `load_settings` reads `.env`, too.

    An empty one is as good as none; but of a path it is an error, since a path that was to be there
    and is not would move the data elsewhere.
    """

    model_config = SettingsConfigDict(env_prefix="IYAGI_", extra="ignore", frozen=True)

    llm: Literal["scripted", "openai", "llamacpp", "huggingface"] = Field(
        "scripted",
        description="`scripted` needs no model; `openai` is any compatible server; `llamacpp` "
        "and `huggingface` run one in this process, by extras.",
    )
    llm_url: str | None = Field(
        None, description="Base URL of the server, such as `http://127.0.0.1:8000/v1`."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="Key of the server, if it wants one.")
    llm_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Models that a request may name, split by commas; the first is the default.",
    )
    llm_format: str | None = Field(
        None, description="Prompt format of these models; unset: by the model's name."
    )
    llm_context: int | None = Field(
        None,
        ge=512,
        description="Context length in tokens; unset: by the model's name. What the server takes "
        "is the limit.",
    )
    llm_tokenizer: Path | Literal["server"] | None = Field(
        None,
        description="The model's `tokenizer.json`, or `server` to ask vLLM or llama.cpp; "
        "unset: tokens are estimated.",
    )
    llm_connect_timeout: float = Field(5.0, gt=0, description="Seconds to reach the server.")
    llm_first_token_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds to the first token, in which a model is loaded and the prompt read.",
    )
    llm_idle_timeout: float = Field(60.0, gt=0, description="Seconds from one token to the next.")
    llm_deadline: float = Field(300.0, gt=0, description="Seconds for one reply.")
    llm_retries: int = Field(2, ge=0, le=10, description="Attempts after the first.")
    llm_concurrency: int = Field(32, ge=1, description="Replies that run at once.")
    llm_stops: int | None = Field(
        None,
        ge=0,
        description="Stop strings that the server takes; unset: what is known of it, at least 4. "
        "All are watched here.",
    )
    llm_path: Path | None = Field(
        None,
        description="`llamacpp`: a GGUF file; `huggingface`: a folder; unset: from the hub, by "
        "name.",
    )
    llm_device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="For `huggingface`: `cpu`, `cuda`, `cuda:1`; `auto` is a GPU if there is one.",
    )
    llm_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="For `huggingface`: `float32`, `bfloat16`, `float16`; as in the files.",
    )
    llm_quantize: Literal["none", "int8", "int4"] = Field(
        "none", description="For `huggingface`: `int8` or `int4` while loading (bitsandbytes)."
    )
    llm_trust_remote_code: bool = Field(
        False, description="For `huggingface`: run code that comes with a model."
    )

    second_opinion: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Where the router is less sure than this (.5 to 1) of narrator or character, "
        "the model is asked; 0: never.",
    )

    prompt_place: Literal["after_history", "before_history", "depth"] = Field(
        "after_history",
        description="Where memories and story stand; the first is kindest to caches.",
    )
    prompt_notes_tokens: int | None = Field(
        None, ge=0, description="Most tokens of memories and story; unset: a tenth of the context."
    )
    prompt_keep: float = Field(
        0.5, ge=0.25, le=0.9, description="Share of the history that a cut leaves."
    )
    recent_only: bool = Field(
        False, description="Backends send the end of a chat only, never its beginning."
    )
    reply_language: str = Field(
        "auto",
        pattern=r"^(auto|card|[a-z]{2})$",
        description="Of replies: `auto` follows the card, else the user; `card` the card alone; or "
        "a code such as `ko`.",
    )

    embedder: Literal["onnx", "huggingface", "tei"] = Field(
        "onnx",
        description="`onnx` is bundled; `huggingface` needs the extra; `tei` is a "
        "text-embeddings-inference server.",
    )
    korean: Literal["rules", "kiwi"] = Field(
        "rules",
        description="What cuts Korean words; `kiwi` finds more, for 500 MB (`make kiwi`).",
    )
    embedder_model: str | None = Field(
        None, description="What `huggingface` loads or `tei` serves, such as `BAAI/bge-m3`."
    )
    embedder_url: str | None = Field(None, description="For `tei`: the server's address.")
    embedder_api_key: SecretStr = Field(SecretStr(""), description="For `tei`: its key, if any.")

    reranker: Literal["none", "huggingface", "tei"] = Field(
        "none",
        description="A cross-encoder for memories: `huggingface` (an extra), or a `tei` server.",
    )
    reranker_model: str | None = Field(
        None, description="For `huggingface`, such as `BAAI/bge-reranker-v2-m3`."
    )
    reranker_url: str | None = Field(None, description="For `tei`: the server's address.")

    index_dir: Path = Field(
        ROOT / "data" / "indexes", description="Where vectors and stories are kept."
    )
    chroma_url: str | None = Field(
        None, description="A Chroma server, such as `http://127.0.0.1:8000`; unset: embedded."
    )
    standing_memory: bool = Field(
        False, description="Remember each chat on the server, for backends that send only its end."
    )
    characters_dir: Path = Field(
        ROOT / "characters", description="Characters that OpenAI clients can name as the model."
    )

    worker_concurrency: int = Field(
        40,
        ge=1,
        description="Jobs that a worker takes at once: some more than replies, to be ready.",
    )
    job_deadline: float = Field(
        540.0, gt=0, description="Seconds for one job; keep it below the endpoint's own limit."
    )
    warm_up: bool = Field(True, description="Answer one turn before the first job is taken.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="`DEBUG` writes what users say into the log; nothing above it does."
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys of the HTTP server, split by commas; a request brings one of them. "
        "`robin:KEY` is one person's key: what is remembered for it, no other key reaches.",
    )
    rate_limit: str | None = Field(
        None,
        description="Most requests of each key, or of each address without keys, such as "
        "`60/minute` (or `second`, `hour`).",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Web pages that may use the HTTP server, such as `https://chat.example`, split "
        "by commas; `*`: all.",
    )
    drain: float = Field(
        25.0, ge=0, description="Seconds for open replies when the HTTP server ends."
    )

    vllm_args: str = Field(
        "", description="In the GPU image: more arguments of `vllm serve`, as in a shell."
    )
    vllm_port: int = Field(
        8001, ge=1, le=65535, description="In the GPU image: vLLM's port, on loopback."
    )
    vllm_startup_timeout: float = Field(
        1200.0, gt=0, description="In the GPU image: seconds until vLLM must be ready."
    )

    @field_validator("llm_models", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @model_validator(mode="before")
    @classmethod
    def _unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without the empty ones, so that `model_fields_set` holds what the operator chose."""
        return {name: it for name, it in values.items() if it != "" or _is_path(cls, name)}

    _filled = field_validator("*", mode="before")(_not_blank)

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, rate: str | None) -> str | None:
        if rate is not None and not re.fullmatch(r"[1-9][0-9]{0,5}/(second|minute|hour)", rate):
            raise ValueError("is no rate; write such as 60/minute (or second, hour)")
        return rate

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError("is no origin; write such as https://chat.example, without a path")
        return origins

    @field_validator("llm_api_key", "embedder_api_key", "api_keys")
    @classmethod
    def _sendable(cls, key: SecretStr) -> SecretStr:
        value = key.get_secret_value()
        if not (value.isascii() and value.isprintable()):
            raise ValueError("holds a character that no key has; copy the key anew")
        return key

    @property
    def server_keys(self) -> dict[str, str]:
        """The keys of the HTTP server, each with its owner; empty where it is a program's, which
        names its users itself."""
        keys = (key.strip() for key in self.api_keys.get_secret_value().split(","))
        named = (_OWNED.fullmatch(key) for key in keys if key)
        return {found["key"]: found["owner"] or "" for found in named if found}


IN_KOREAN = {
    "llm": "`scripted`는 모델 없이 돌아가고, `openai`는 OpenAI 호환 서버를 쓰고, `llamacpp`와 "
    "`huggingface`는 모델을 이 프로세스에서 돌립니다(추가 설치).",
    "llm_url": "서버의 기본 URL. 예: `http://127.0.0.1:8000/v1`.",
    "llm_api_key": "서버가 요구하는 API 키.",
    "llm_models": "요청에서 고를 수 있는 모델. 쉼표로 구분하며, 첫 번째가 기본 모델입니다.",
    "llm_format": "이 모델들의 프롬프트 형식. 정하지 않으면 모델 이름으로 정합니다.",
    "llm_context": "컨텍스트 길이(토큰). 정하지 않으면 모델 이름으로 정합니다. "
    "서버가 받는 길이까지만 씁니다.",
    "llm_tokenizer": "모델의 `tokenizer.json` 파일. `server`면 vLLM이나 llama.cpp에 물어봅니다. "
    "정하지 않으면 토큰 수를 어림합니다.",
    "llm_connect_timeout": "서버 연결을 기다리는 시간(초).",
    "llm_first_token_timeout": "첫 토큰까지 기다리는 시간(초). 그동안 모델을 불러오고 "
    "프롬프트를 읽습니다.",
    "llm_idle_timeout": "토큰이 오지 않을 때 기다리는 시간(초).",
    "llm_deadline": "답변 하나의 제한 시간(초).",
    "llm_retries": "첫 시도가 실패한 뒤 다시 시도하는 횟수.",
    "llm_concurrency": "동시에 생성하는 답변 수.",
    "llm_stops": "서버가 받는 중지 문자열의 수. 정하지 않으면 서버 종류에 따라 4개 이상을 "
    "보냅니다. 나머지는 여기서 살핍니다.",
    "llm_path": "`llamacpp`: GGUF 파일. `huggingface`: 폴더. 정하지 않으면 이름으로 "
    "허브에서 받습니다.",
    "llm_device": "`huggingface`용: `cpu`, `cuda`, `cuda:1`. `auto`는 GPU가 있으면 GPU를 씁니다.",
    "llm_dtype": "`huggingface`용: `float32`, `bfloat16`, `float16`. `auto`는 파일에 저장된 "
    "형식입니다.",
    "llm_quantize": "`huggingface`용: 모델을 불러올 때 `int8`이나 `int4`로 "
    "양자화합니다(bitsandbytes).",
    "llm_trust_remote_code": "`huggingface`용: 모델에 딸린 코드를 실행합니다.",
    "second_opinion": "내레이터와 캐릭터 중 누가 답할지 판단한 확신도가 이 값(0.5~1)보다 낮으면 "
    "모델에게 묻습니다. 0이면 묻지 않습니다.",
    "prompt_place": "프롬프트에서 기억과 스토리를 넣는 자리. 기본값이 캐시에 가장 유리합니다.",
    "prompt_notes_tokens": "기억과 스토리에 쓰는 최대 토큰 수. 정하지 않으면 컨텍스트의 "
    "10분의 1입니다.",
    "prompt_keep": "대화 기록을 자를 때 남기는 비율.",
    "recent_only": "백엔드가 대화 전체가 아니라 최근 부분만 보낼 때 켭니다.",
    "reply_language": "답변의 언어. `auto`는 카드를, 카드에 없으면 유저를 따릅니다. `card`는 "
    "카드만 따르고, `ko` 같은 코드를 쓰면 그 언어로 고정합니다.",
    "embedder": "`onnx`는 저장소에 들어 있습니다. `huggingface`는 추가 설치가 필요하고, `tei`는 "
    "text-embeddings-inference 서버입니다.",
    "korean": "한국어 단어를 나누는 방법. `kiwi`는 더 많이 찾지만 메모리를 500 MB 더 "
    "씁니다(`make kiwi`).",
    "embedder_model": "`huggingface`가 불러오거나 `tei`가 제공하는 모델. 예: `BAAI/bge-m3`.",
    "embedder_url": "`tei`용: 서버 주소.",
    "embedder_api_key": "`tei`용: 필요한 경우 API 키.",
    "reranker": "기억의 순위를 다시 매기는 크로스 인코더. `huggingface`(추가 설치) 또는 `tei` "
    "서버.",
    "reranker_model": "`huggingface`용. 예: `BAAI/bge-reranker-v2-m3`.",
    "reranker_url": "`tei`용: 서버 주소.",
    "index_dir": "벡터와 스토리를 저장하는 폴더.",
    "chroma_url": "Chroma 서버. 예: `http://127.0.0.1:8000`. 정하지 않으면 이 "
    "프로세스 안에서 돌립니다.",
    "standing_memory": "대화를 서버에 기억해 둡니다. 백엔드가 최근 대화만 보낼 때 씁니다.",
    "characters_dir": "OpenAI 클라이언트가 모델 이름으로 고를 수 있는 캐릭터 폴더.",
    "worker_concurrency": "워커가 동시에 받는 작업 수. 다음 작업이 미리 준비되도록 동시 답변 "
    "수보다 조금 크게 둡니다.",
    "job_deadline": "작업 하나의 제한 시간(초). 엔드포인트의 제한 시간보다 짧게 두세요.",
    "warm_up": "첫 작업을 받기 전에 한 턴을 미리 돌립니다.",
    "log_level": "`DEBUG`는 유저가 한 말을 로그에 남깁니다. 그보다 높은 수준에서는 남지 않습니다.",
    "api_keys": "HTTP 서버의 API 키. 쉼표로 구분하며, 요청에는 그중 하나가 있어야 합니다. "
    "`robin:KEY`처럼 쓰면 한 사람의 키가 되어, 그 키로 기억한 것은 다른 키로 볼 수 없습니다.",
    "rate_limit": "키마다(키가 없으면 주소마다) 받는 최대 요청 수. 예: `60/minute`(`second`, "
    "`hour`도 가능).",
    "cors_origins": "HTTP 서버를 쓸 수 있는 웹 페이지. 예: `https://chat.example`. 쉼표로 "
    "구분하며, `*`는 모두 허용합니다.",
    "drain": "HTTP 서버가 종료될 때 진행 중인 답변을 기다리는 시간(초).",
    "vllm_args": "GPU 이미지용: `vllm serve`에 더할 인자. 셸에서처럼 적습니다.",
    "vllm_port": "GPU 이미지용: vLLM이 루프백에서 쓰는 포트.",
    "vllm_startup_timeout": "GPU 이미지용: vLLM이 준비될 때까지 기다리는 시간(초).",
}
"""What each setting means, for docs/settings.ko.md."""

_NEEDS = {
    "llm=openai": ("llm_url", "llm_models"),
    "embedder=tei": ("embedder_url", "embedder_model"),
    "embedder=huggingface": ("embedder_model",),
    "reranker=tei": ("reranker_url",),
    "reranker=huggingface": ("reranker_model",),
}
"""Settings that a choice cannot do without."""


def load_settings() -> Settings:
    """Settings from the environment, and from `.env` or the file that `IYAGI_ENV_FILE` names.

    Raises:
        SettingsError: names the variable, what is wrong and how to cure it.
    """
    settings = _read(Settings)
    for choice, needed in _NEEDS.items():
        name, value = choice.split("=")
        if getattr(settings, name) == value and not all(getattr(settings, it) for it in needed):
            wanted = " and ".join(f"IYAGI_{it.upper()}" for it in needed)
            raise SettingsError(f"IYAGI_{name.upper()}={value} needs {wanted}")
    if settings.llm_tokenizer == "server" and settings.llm not in ("openai", "llamacpp"):
        raise SettingsError("IYAGI_LLM_TOKENIZER=server needs IYAGI_LLM=openai; or name a file")
    if settings.llm in ("llamacpp", "huggingface"):
        if not (settings.llm_path or settings.llm_models):
            raise SettingsError(
                f"IYAGI_LLM={settings.llm} needs IYAGI_LLM_MODELS or IYAGI_LLM_PATH"
            )
        if settings.llm_path and len(settings.llm_models) > 1:
            raise SettingsError(
                "IYAGI_LLM_PATH is one model: give IYAGI_LLM_MODELS one name, or none"
            )
    if settings.llm == "llamacpp":
        _check_llamacpp(settings)
    elif settings.llm == "huggingface":
        _check_huggingface(settings)
    return settings


class _Place(BaseSettings):
    """The one setting that `load_index_dir` wants."""

    model_config = Settings.model_config

    index_dir: Path = Settings.model_fields["index_dir"].default

    _filled = field_validator("*", mode="before")(_not_blank)


def load_index_dir() -> Path:
    """`index_dir` alone, also where other settings are at fault.

    Raises:
        SettingsError: as above.
    """
    return _read(_Place).index_dir


def _read(kind: type[S]) -> S:
    """Settings of this kind, each checked by itself. Raises SettingsError."""
    file = os.environ.get("IYAGI_ENV_FILE", ROOT / ".env")
    try:
        return kind(_env_file=file)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        variable = "_".join(str(part) for part in fault["loc"]).upper()
        raise SettingsError(
            f"IYAGI_{variable}: {fault['msg'].removeprefix('Value error, ').lower()}"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{Path(file).name} is not UTF-8; save it as such") from None
    except OSError as error:
        raise SettingsError(f"{Path(file).name} cannot be read: {error.strerror}") from None


def _check_llamacpp(settings: Settings) -> None:
    """What can be known before the model is loaded."""
    if len(settings.llm_models) > 1:
        raise SettingsError("IYAGI_LLM=llamacpp runs one model: give IYAGI_LLM_MODELS one name")
    if settings.llm_path and not settings.llm_path.is_file():
        raise SettingsError("IYAGI_LLM_PATH: there is no such file; name the model's GGUF file")


def _check_huggingface(settings: Settings) -> None:
    """What can be known before the model is loaded."""
    if settings.llm_path and not (settings.llm_path / "config.json").is_file():
        raise SettingsError("IYAGI_LLM_PATH: the folder holds no config.json of a model")
    if not all(find_spec(name) for name in ("accelerate", "torch", "transformers")):
        raise SettingsError('IYAGI_LLM=huggingface needs its extra: pip install ".[huggingface]"')
