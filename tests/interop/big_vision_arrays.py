"""Arrays of a small two_towers model, by the names and shapes of big_vision's own modules."""

import numpy as np

WIDTH, HEADS, DEPTH, MLP = 32, 2, 2, 48
PATCH, SIDE, LENGTH, VOCABULARY = 4, 3, 6, 40


def wave(name, shape):
    """Numbers that anyone can write again: a sine whose phase is the length of the name."""
    size = int(np.prod(shape))
    values = np.sin(np.arange(size, dtype=np.float64) * 1.7 + len(name))
    scaled = values * (0.2 if len(shape) > 1 else 0.1)
    if name.endswith("scale"):
        scaled += 1
    return scaled.reshape(shape).astype(np.float32)


def two_towers(*, pool="map", head=None, bias=True, scan=False, text="siglip"):
    """The arrays by name, without a prefix.

    Args:
        pool: "map", "gap" or "tok", as there.
        head: width of the image head, if there is one.
        bias: whether logits have a bias.
        scan: whether blocks have a leading axis.
        text: "siglip", "bert" or None.
    """
    shapes = _image(pool, head, scan)
    if text == "siglip":
        shapes |= _text(scan)
    if text == "bert":
        shapes |= _bert()
    shapes |= {"t": (1,), **({"b": (1,)} if bias else {})} if text else {}
    return {name: wave(name, shape) for name, shape in shapes.items()}


def _image(pool, head, scan):
    shapes = {
        "img/embedding/kernel": (PATCH, PATCH, 3, WIDTH),
        "img/embedding/bias": (WIDTH,),
        "img/pos_embedding": (1, SIDE * SIDE, WIDTH),
        **_encoder("img/Transformer", scan),
    }
    if pool == "tok":
        shapes["img/cls"] = (1, 1, WIDTH)
    if pool == "map":
        at = "img/MAPHead_0"
        shapes |= {f"{at}/probe": (1, 1, WIDTH), **_attention(at), **_norm(f"{at}/LayerNorm_0")}
        shapes |= _mlp(at)
    return shapes | (_dense("img/head", (WIDTH, head), (head,)) if head else {})


def _text(scan):
    return {
        "txt/Embed_0/embedding": (VOCABULARY, WIDTH),
        "txt/pos_embedding": (1, LENGTH, WIDTH),
        **_encoder("txt/Encoder_0", scan),
        **_dense("txt/head", (WIDTH, WIDTH), (WIDTH,)),
    }


def _bert():
    at, width = "txt/BertEncoder_0", 64  # one head
    shapes = {
        f"{at}/embedder/embedders_token_ids/embedding": (VOCABULARY, width),
        f"{at}/embedder/embedders_position_ids/embedding": (LENGTH, width),
        f"{at}/embedder/embedders_segment_ids/embedding": (2, width),
        **_norm(f"{at}/layer_norm", width),
        **_dense("txt/head", (width, WIDTH), (WIDTH,)),
    }
    for i in range(DEPTH):
        layer = f"{at}/encoder_block/layer_sequence/layers_{i}"
        attention, mlp = f"{layer}/attention_block", f"{layer}/mlp_block"
        for part in ("query", "key", "value"):
            shapes |= _dense(f"{attention}/attention_layer/{part}", (width, width), (width,))
        shapes |= _dense(f"{attention}/dense_layer", (width, width), (width,))
        shapes |= _dense(f"{mlp}/mlp/dense_layer", (width, MLP), (MLP,))
        shapes |= _dense(f"{mlp}/dense_layer", (MLP, width), (width,))
        shapes |= _norm(f"{attention}/layer_norm", width) | _norm(f"{mlp}/layer_norm", width)
    return shapes


def _encoder(at, scan):
    def block(name):
        norms = _norm(f"{name}/LayerNorm_0") | _norm(f"{name}/LayerNorm_1")
        return {**norms, **_attention(name), **_mlp(name)}

    shapes = _norm(f"{at}/encoder_norm")
    if scan:
        return shapes | {n: (DEPTH, *s) for n, s in block(f"{at}/encoderblock").items()}
    for i in range(DEPTH):
        shapes |= block(f"{at}/encoderblock_{i}")
    return shapes


def _attention(at):
    name, per_head = f"{at}/MultiHeadDotProductAttention_0", (HEADS, WIDTH // HEADS)
    shapes = _dense(f"{name}/out", (*per_head, WIDTH), (WIDTH,))
    for part in ("query", "key", "value"):
        shapes |= _dense(f"{name}/{part}", (WIDTH, *per_head), per_head)
    return shapes


def _mlp(at):
    up = _dense(f"{at}/MlpBlock_0/Dense_0", (WIDTH, MLP), (MLP,))
    return up | _dense(f"{at}/MlpBlock_0/Dense_1", (MLP, WIDTH), (WIDTH,))


def _dense(at, kernel, bias):
    return {f"{at}/kernel": kernel, f"{at}/bias": bias}


def _norm(at, width=WIDTH):
    return {f"{at}/scale": (width,), f"{at}/bias": (width,)}
