"""Text to vectors: the committed MiniLM and e5, any LangChain embedder, a fake for tests.

Importing this loads no model and no onnxruntime; the backends import theirs when called.
"""

from embedding.backends import e5, huggingface, minilm, text_embeddings_inference
from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from embedding.onnx import OnnxEmbeddings

__all__ = [
    "Embedder",
    "HashEmbeddings",
    "OnnxEmbeddings",
    "e5",
    "huggingface",
    "minilm",
    "text_embeddings_inference",
]
