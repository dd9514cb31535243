"""The llama architecture, small: RMSNorm, rotary positions on adjacent pairs, grouped attention, SwiGLU, tied embeddings.

Source: Touvron et al. (2023); the tensor names are those of llama.cpp.
"""
import torch
from torch import nn
import torch.nn.functional as F

DIM, LAYERS, HEADS, KV, HEAD, FFN, CONTEXT = 192, 6, 6, 2, 32, 512, 1024


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotary(length):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, HEAD, 2) / HEAD)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.attn_norm, self.ffn_norm = Norm(), Norm()
        self.q, self.k, self.v, self.o = linear(DIM, HEADS * HEAD), linear(DIM, KV * HEAD), linear(DIM, KV * HEAD), linear(HEADS * HEAD, DIM)
        self.gate, self.up, self.down = linear(DIM, FFN), linear(DIM, FFN), linear(FFN, DIM)
        self.drop = nn.Dropout(0.05)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        h = self.attn_norm(x)
        q = rotate(self.q(h).view(b, t, HEADS, HEAD).transpose(1, 2), cos, sin)
        k = rotate(self.k(h).view(b, t, KV, HEAD).transpose(1, 2), cos, sin)
        v = self.v(h).view(b, t, KV, HEAD).transpose(1, 2)
        k, v = (z.repeat_interleave(HEADS // KV, 1) for z in (k, v))
        scores = (q @ k.transpose(-1, -2)) * HEAD ** -0.5
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        a = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1)
        x = x + self.drop(self.o(a))
        h = self.ffn_norm(x)
        return x + self.drop(self.down(F.silu(self.gate(h)) * self.up(h)))


class Llama(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = Norm()
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / ((2 * LAYERS) ** 0.5 if name.endswith(("o.weight", "down.weight")) else 1))

    def forward(self, tokens):
        x = self.embed(tokens)
        cos, sin = rotary(tokens.shape[1])
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)
