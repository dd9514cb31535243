"""Byte-level BPE with GPT-2's pre-tokenizer, trained on the corpus itself.

Source: Sennrich et al. (2016); the split is GPT-2's, for ASCII letters and digits.
"""
import re
from collections import Counter

SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def stand_ins():
    """GPT-2's printable characters for the 256 bytes."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for byte in range(256):
        if byte in keep:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


class Bpe:
    def __init__(self, texts, merges):
        table = stand_ins()
        self.table = table
        counts = Counter(piece for text in texts for piece in SPLIT.findall(text))
        words = {word: [table[b] for b in word.encode()] for word in counts}
        self.merges = []
        pairs, where = Counter(), {}
        for word, parts in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
                where.setdefault(pair, set()).add(word)
        while len(self.merges) < merges:
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            if pairs[best] < 2:
                break
            self.merges.append(best)
            for word in list(where[best]):
                old = words[word]
                for pair in zip(old, old[1:]):
                    pairs[pair] -= counts[word]
                    where[pair].discard(word)
                new = merge(old, best)
                words[word] = new
                for pair in zip(new, new[1:]):
                    pairs[pair] += counts[word]
                    where.setdefault(pair, set()).add(word)
            del pairs[best]
        self.tokens = [table[b] for b in range(256)] + ["".join(pair) for pair in self.merges] + CONTROL
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        self.cache = {}

    def encode(self, text):
        out = []
        for piece in SPLIT.findall(text):
            if piece not in self.cache:
                parts = [self.table[b] for b in piece.encode()]
                while len(parts) > 1:
                    pair = min(zip(parts, parts[1:]), key=lambda p: self.rank.get(p, 1 << 30))
                    if pair not in self.rank:
                        break
                    parts = merge(parts, pair)
                self.cache[piece] = [self.ids[part] for part in parts]
            out += self.cache[piece]
        return out


def merge(parts, pair):
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out
