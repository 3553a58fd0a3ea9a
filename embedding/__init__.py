"""Text to vectors: the committed MiniLM, any LangChain embedder, a fake for tests.

Importing this loads no model and no onnxruntime; the backends import theirs when called.
"""

from embedding.backends import huggingface, minilm, text_embeddings_inference
from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from embedding.onnx import OnnxEmbeddings

__all__ = [
    "Embedder",
    "HashEmbeddings",
    "OnnxEmbeddings",
    "huggingface",
    "minilm",
    "text_embeddings_inference",
]
