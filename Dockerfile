# syntax=docker/dockerfile:1
#   docker build --target worker -t iyagi .        CPU, no torch: talks to an LLM server
#   docker build --target gpu -t iyagi-gpu .       vLLM and the worker in one container
#
# vLLM: its newest release, built for CUDA 13.0 and Python 3.12. Every argument that stands here, in
# scripts/serve_gpu.py, compose.yaml, .runpod and docs was looked up in its sources; a test compares
# the pins with each other and with what llm/models.toml needs.
ARG VLLM_VERSION=v0.33.0

# The application's files, readable by any user of an image.
FROM scratch AS app
COPY handler.py ./
COPY schemas schemas
COPY cards cards
COPY language language
COPY embedding embedding
COPY llm llm
COPY stores stores
COPY prompts prompts
COPY retrieval retrieval
COPY routing routing
COPY replies replies
COPY nodes nodes
COPY graph graph
COPY openai_api openai_api
COPY worker worker
COPY server server
COPY scripts scripts
COPY characters characters
COPY data/mock data/mock
COPY LICENSE README.md ./

FROM vllm/vllm-openai:${VLLM_VERSION} AS gpu
# Our versions in an environment of their own, vLLM's own torch and transformers visible in it.
COPY requirements.lock /tmp/requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --system-site-packages /opt/iyagi \
    && /opt/iyagi/bin/pip install --no-deps --require-hashes -r /tmp/requirements.lock
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNPOD_LOG_LEVEL=INFO \
    RUNPOD_MIN_MEMORY_GB=2 \
    RUNPOD_MIN_DISK_PERCENT=2 \
    RUNPOD_INIT_TIMEOUT=1200 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    VLLM_NO_USAGE_STATS=1 \
    VLLM_CACHE_ROOT=/home/iyagi/.cache/vllm \
    IYAGI_INDEX_DIR=/app/data/indexes \
    IYAGI_CHARACTERS_DIR=/app/characters
WORKDIR /app
COPY --from=app / ./
RUN useradd --create-home iyagi \
    && python3 -m compileall -q --invalidation-mode checked-hash . \
    && mkdir -p data/indexes \
    && chown -R iyagi data/indexes
USER iyagi
ENTRYPOINT []
CMD ["/opt/iyagi/bin/python", "-m", "scripts.serve_gpu"]

# Last, so that a build without a target gives the small one.
FROM python:3.11.13-slim-bookworm AS worker
COPY requirements.lock /tmp/requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes -r /tmp/requirements.lock
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNPOD_LOG_LEVEL=INFO \
    RUNPOD_MIN_MEMORY_GB=1 \
    RUNPOD_MIN_DISK_PERCENT=2 \
    IYAGI_INDEX_DIR=/app/data/indexes \
    IYAGI_CHARACTERS_DIR=/app/characters
WORKDIR /app
COPY --from=app / ./
RUN useradd --create-home iyagi \
    && python3 -m compileall -q --invalidation-mode checked-hash . \
    && mkdir -p data/indexes \
    && chown -R iyagi data/indexes
USER iyagi
CMD ["python", "-m", "scripts.start"]
