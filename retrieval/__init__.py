"""Finding the right passage: pure ranking, without input or output.

`text` (terms, keyword matching) ← `lexical` (BM25 that grows) ← `index` (passages) ← `hybrid`
(ranking) ← `cache`; `query` makes the query of a turn, `chat` and `story` make messages and events
passages. `lab/retrieval.md` tells why.
"""
