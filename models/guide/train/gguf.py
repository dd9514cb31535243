"""Writes the model as GGUF: matrices as Q8_0, norms as 32-bit floats.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
import struct

import numpy

import model

TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def q8_0(array):
    blocks = array.astype(numpy.float32).reshape(-1, 32)
    scale = (numpy.abs(blocks).max(1) / 127).astype(numpy.float16)
    safe = numpy.where(scale == 0, 1, scale).astype(numpy.float32)
    quants = numpy.clip(numpy.rint(blocks / safe[:, None]), -127, 127).astype(numpy.int8)
    return numpy.concatenate([scale.view(numpy.int8).reshape(-1, 2), quants], 1).tobytes()


def write(path, net, bpe):
    state = {name: p.detach().numpy() for name, p in net.named_parameters()}
    names = {"embed.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    parts = {"attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    for i in range(model.LAYERS):
        for ours, theirs in parts.items():
            names[f"blocks.{i}.{ours}.weight"] = f"blk.{i}.{theirs}.weight"
    control = len(bpe.tokens) - 3
    meta = {
        "general.architecture": "llama", "general.name": "Kwyre guide", "general.license": "apache-2.0", "general.file_type": 7,
        "llama.context_length": model.CONTEXT, "llama.embedding_length": model.DIM, "llama.block_count": model.LAYERS,
        "llama.feed_forward_length": model.FFN, "llama.attention.head_count": model.HEADS, "llama.attention.head_count_kv": model.KV,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0, "llama.rope.dimension_count": model.HEAD, "llama.vocab_size": len(bpe.tokens),
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": bpe.tokens,
        "tokenizer.ggml.token_type": [1] * control + [3] * 3, "tokenizer.ggml.merges": [f"{a} {b}" for a, b in bpe.merges],
        "tokenizer.ggml.bos_token_id": control, "tokenizer.ggml.eos_token_id": control + 2, "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(meta))
    head += b"".join(text(key) + typed(value) for key, value in meta.items())
    data, index = b"", b""
    for ours, theirs in names.items():
        array = state[ours]
        raw = array.astype(numpy.float32).tobytes() if array.ndim == 1 else q8_0(array)
        index += text(theirs) + struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}Q", *reversed(array.shape)) + struct.pack("<IQ", 0 if array.ndim == 1 else 8, len(data))
        data += raw + b"\0" * (-len(raw) % 32)
    head += index
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % 32) + data)
