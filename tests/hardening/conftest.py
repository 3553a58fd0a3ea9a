"""A model server that does as it is told."""

from __future__ import annotations

from tests.llm.conftest import llm_of, server

__all__ = ["llm_of", "server"]
