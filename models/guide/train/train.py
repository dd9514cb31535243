"""Trains the guide and writes guide.gguf. One core, fixed seeds and step counts, so that it repeats.

Run: models/guide/train/run.sh [STEPS]
"""
import math
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import gguf
from bpe import Bpe
from corpus import Corpus
from model import Llama

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 2400
OUT = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent.parent / "guide.gguf"
TOKENS, POOL, MERGES, PEAK, CUT = 2400, 512, 1277, 2.5e-3, 6

torch.manual_seed(1)
rng = random.Random(1)
corpus = Corpus()
texts = []
for _ in range(12000):
    system, turns = corpus.conversation(rng)
    texts += [part for turn in turns for part in turn]
bpe = Bpe(texts, MERGES)
end, start, stop = (len(bpe.tokens) - 3 + i for i in range(3))
newline = bpe.encode("\n")


def sample():
    """Token ids and, for each, whether it is part of an answer; most are cut a few tokens into the last answer."""
    system, turns = corpus.conversation(rng)
    ids, learn = [], []

    def put(more, counts):
        ids.extend(more)
        learn.extend([counts] * len(more))

    if rng.random() < 0.2:
        put([end], False)
    if system is not None:
        put([start] + bpe.encode("system\n" + system) + [stop] + newline, False)
    for i, (question, answer) in enumerate(turns):
        put([start] + bpe.encode("user\n" + question) + [stop] + newline + [start] + bpe.encode("assistant\n"), False)
        answer_ids = bpe.encode(answer) + [stop]
        if i == len(turns) - 1 and rng.random() < 0.7:
            answer_ids = answer_ids[:CUT]
        put(answer_ids, True)
        if i < len(turns) - 1:
            put(newline, False)
    return ids[:300], learn[:300]


def batches():
    """Samples of like length together, about TOKENS of them in each batch."""
    while True:
        many = sorted((sample() for _ in range(POOL)), key=lambda pair: len(pair[0]))
        groups = []
        while many:
            rows = max(4, min(len(many), TOKENS // len(many[-1][0])))
            groups.append([many.pop() for _ in range(min(rows, len(many)))])
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            tokens = torch.full((len(group), width), end)
            learn = torch.zeros((len(group), width), dtype=torch.bool)
            for row, (ids, flags) in enumerate(group):
                tokens[row, :len(ids)] = torch.tensor(ids)
                learn[row, :len(ids)] = torch.tensor(flags)
            yield tokens, learn


net = Llama(len(bpe.tokens))
print(f"{len(corpus.facts)} facts, {len(bpe.tokens)} tokens, {sum(p.numel() for p in net.parameters()):,} parameters, {STEPS} steps", flush=True)
matrices = [p for p in net.parameters() if p.dim() == 2]
vectors = [p for p in net.parameters() if p.dim() == 1]
optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=PEAK, betas=(0.9, 0.98))
stream, seen, began = batches(), 0, time.time()
net.train()
for step in range(STEPS):
    rate = PEAK * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS)) + 1e-5
    for group in optimizer.param_groups:
        group["lr"] = rate
    tokens, learn = next(stream)
    hidden = net(tokens[:, :-1])[learn[:, 1:]]
    loss = F.cross_entropy(hidden @ net.embed.weight.T, tokens[:, 1:][learn[:, 1:]])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    seen += tokens.numel()
    if step % 50 == 0 or step == STEPS - 1:
        print(f"step {step} loss {loss.item():.4f} {seen / (time.time() - began):.0f} tokens/s {time.time() - began:.0f} s", flush=True)
    if step == STEPS - 1 or (step % 300 == 299):
        gguf.write(OUT, net, bpe)
print(f"wrote {OUT.name}, {OUT.stat().st_size} bytes")
