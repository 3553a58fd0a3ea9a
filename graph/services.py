"""The live objects of a process, made from the settings: the one file that knows their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseLLM

from embedding.backends import e5, huggingface, minilm, text_embeddings_inference
from embedding.embedder import Embedder
from embedding.rerank import CrossEncoderReranker, RerankServer
from graph.build import Services
from graph.settings import Settings
from llm.huggingface import HuggingFaceLLM
from llm.presets import preset_for
from llm.scripted import ScriptedLLM
from llm.served import ServedContext
from prompts.served import ServedCount
from prompts.tokens import Count, added_tokens, estimator, tokenizer_count
from retrieval.index import IndexCache
from retrieval.text import RULES
from routing import LazyExemplars
from schemas.models import Model, Models
from schemas.protocols import Analyzer, Reranker
from schemas.readers import Reader, Readers
from stores.chat_memory import StandingMemory
from stores.chroma import ChromaDatabase
from stores.conversations import Conversations
from stores.story_index import StoryIndex
from stores.vector_cache import VectorCache
from stores.word_index import WordIndex


def make_services(settings: Settings) -> Services:
    """Everything a turn needs; nothing is loaded or connected before it is used."""
    url = settings.chroma_url
    database = (
        ChromaDatabase(url=url) if url else ChromaDatabase(path=settings.index_dir / "chroma")
    )
    analyzer = analyzer_of(settings.korean)
    words = None
    if settings.standing_memory:
        name = "words.sqlite" if analyzer is RULES else f"words-{analyzer.name}.sqlite"
        words = WordIndex(settings.index_dir / name, analyzer)

    def reader(embedder: Embedder) -> Reader:
        embedder.cache = VectorCache(settings.index_dir / "vectors.sqlite", embedder.fingerprint)
        memory = StandingMemory(database, embedder, words) if words else None
        return Reader(embedder, StoryIndex(database, embedder), memory)

    latin = reader(_embedder(settings))
    # An embedder that the operator chose is taken to know every language.
    cjk = reader(e5()) if settings.embedder == "onnx" else latin
    readers: Readers = {"latin": latin, "cjk": cjk}
    return Services(
        readers=readers,
        reranker=_reranker(settings),
        indexes=IndexCache(analyzer),
        exemplars=LazyExemplars(readers),
        models=Models(tuple(_models(settings))),
        conversations=Conversations(settings.index_dir / "conversations.sqlite"),
    )


def analyzer_of(korean: Literal["rules", "kiwi"]) -> Analyzer:
    """What cuts texts into terms. Raises SettingsError where its package is missing."""
    if korean == "rules":
        return RULES
    from retrieval.kiwi import KiwiAnalyzer

    return KiwiAnalyzer()


def _embedder(settings: Settings) -> Embedder:
    match settings.embedder:
        case "onnx":
            return minilm()
        case "huggingface":
            return huggingface(str(settings.embedder_model))
        case "tei":
            return text_embeddings_inference(
                str(settings.embedder_url),
                str(settings.embedder_model),
                api_key=settings.embedder_api_key.get_secret_value() or None,
            )


def _reranker(settings: Settings) -> Reranker | None:
    match settings.reranker:
        case "none":
            return None
        case "huggingface":
            return CrossEncoderReranker(str(settings.reranker_model))
        case "tei":
            key = settings.embedder_api_key.get_secret_value() or None
            return RerankServer(str(settings.reranker_url), api_key=key)


def _models(settings: Settings) -> list[Model]:
    if settings.llm == "scripted":
        return [_model(settings, "scripted", ScriptedLLM())]
    if settings.llm == "huggingface":
        folder = settings.llm_path  # one in a folder is called like it, unless it is given a name
        names = settings.llm_models or ((folder.resolve().name,) if folder else ())
        return [
            _model(
                settings,
                name,
                HuggingFaceLLM(
                    model=name,
                    path=folder,
                    device=settings.llm_device,
                    dtype=settings.llm_dtype,
                    quantize=settings.llm_quantize,
                    trust_remote_code=settings.llm_trust_remote_code,
                ),
            )
            for name in names
        ]
    if settings.llm == "llamacpp":
        return [_in_process(settings)]
    from llm.openai_server import OpenAIServerLLM  # with the `openai` package: half a second

    server = OpenAIServerLLM(
        base_url=str(settings.llm_url),
        model=settings.llm_models[0],
        api_key=settings.llm_api_key,
        connect_timeout=settings.llm_connect_timeout,
        first_token_timeout=settings.llm_first_token_timeout,
        idle_timeout=settings.llm_idle_timeout,
        max_retries=settings.llm_retries,
        max_concurrency=settings.llm_concurrency,
        max_stops=settings.llm_stops,
    )
    return [
        _model(settings, name, server.model_copy(update={"model": name}))
        for name in settings.llm_models
    ]


def _in_process(settings: Settings) -> Model:
    """The one model that llama.cpp runs here. Raises SettingsError where it cannot."""
    from llm.gguf import find, read_header
    from llm.llamacpp import LlamaCppLLM  # with the `openai` package, too

    path, folder = settings.llm_path, settings.index_dir / "models"
    name = settings.llm_models[0] if settings.llm_models else path.stem if path else ""
    context = settings.llm_context or preset_for(name).context_length
    if path := path or find(name, folder):
        trained = read_header(path).context_length
        context = min(context, trained or context)
    llm = LlamaCppLLM(
        model=name,
        path=path,
        folder=folder,
        context_length=context,
        # On few cores it may read for minutes before its first word, and it cannot be out of reach.
        first_token_timeout=settings.llm_deadline,
        idle_timeout=settings.llm_deadline,
    )
    return _model(settings, name, llm, context)


def _model(settings: Settings, name: str, llm: BaseLLM, context: int | None = None) -> Model:
    """One model, with this context length; None: the settings' or the preset's."""
    preset, about = preset_for(name), getattr(llm, "about", None)
    context = context or settings.llm_context
    most = context or preset.worth
    file = _tokenizer_file(settings)
    count = _count(settings, preset.tokens, llm, file)
    added = added_tokens(file) if file else frozenset()
    return Model(
        name=name,
        backend=settings.llm,
        llm=llm,
        layout=preset.layout(
            format=settings.llm_format,
            context_length=context,
            place=settings.prompt_place,
            volatile_tokens=settings.prompt_notes_tokens,
            keep=settings.prompt_keep,
            recent_only=settings.recent_only,
            reply_language=settings.reply_language,
        ),
        count=count,
        added_tokens=lambda: added or getattr(llm, "added_tokens", frozenset)(),
        served=count if isinstance(count, ServedCount) else None,
        sampling=preset.sampling,
        deadline=settings.llm_deadline,
        context=ServedContext(about, name, most=most, chosen=settings.llm_context is not None)
        if about
        else None,
        second_opinion=settings.second_opinion,
    )


def _tokenizer_file(settings: Settings) -> Path | None:
    """The model's own tokenizer, where the settings name it or it is beside the model."""
    beside = settings.llm_path and settings.llm_path / "tokenizer.json"
    file = settings.llm_tokenizer or (beside if beside and beside.is_file() else None)
    return file if isinstance(file, Path) else None


def _count(settings: Settings, kind: str, llm: Any, file: Path | None) -> Count:
    """Tokens by the server, by the model's own tokenizer, or by an estimate of its kind."""
    if settings.llm == "llamacpp" and not file:  # it is near, and a GGUF file holds the tokenizer
        return ServedCount(llm.tokenize, estimator(kind))
    if settings.llm_tokenizer == "server" and settings.llm == "openai":
        return ServedCount(llm.tokenize, estimator(kind))
    return tokenizer_count(file) if file else estimator(kind)
