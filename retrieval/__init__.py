"""Finding the right passage: pure ranking, without input or output.

`text` (terms, keyword matching) ← `lexical` (BM25 that grows) ← `hybrid` (ranking) ← `cache`;
`query` makes the query of a turn, `story` makes events searchable. `docs/retrieval.md` tells why.
"""
