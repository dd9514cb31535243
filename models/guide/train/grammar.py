"""Expands the question patterns of facts/*.txt.

Pattern language: (a|b|) is a choice, {class} a word class and @frame(x) a question frame from words.txt.
A fact is `# id`, its answer on the next line, `- pattern` lines, and a `k` line of its keywords.
"""
import random
import re
from pathlib import Path

HERE = Path(__file__).parent / "facts"


def load_words():
    classes, frames = {}, {}
    for line in (HERE / "words.txt").read_text().splitlines():
        if line.startswith("#") or " = " not in line:
            continue
        name, body = line.split(" = ", 1)
        (frames if name.startswith("@") else classes)[name.lstrip("@")] = body
    return classes, frames


CLASSES, FRAMES = load_words()


def load_facts():
    """All facts, as dicts with id, answer, patterns and keywords, in a fixed order."""
    facts = []
    for path in sorted(HERE.glob("*.txt")):
        if path.name == "words.txt":
            continue
        lines = path.read_text().splitlines()
        at = 0
        while at < len(lines):
            if lines[at].startswith("# "):
                facts.append({"id": lines[at][2:].strip(), "answer": lines[at + 1].strip(), "patterns": [], "keywords": []})
                at += 2
                continue
            if lines[at].startswith("- "):
                facts[-1]["patterns"].append(lines[at][2:])
            elif lines[at].startswith("k "):
                facts[-1]["keywords"] = lines[at][2:].split()
            at += 1
    return facts


def close(text, start):
    """The index of the parenthesis that closes the one at start."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError(f"unbalanced: {text}")


def split_top(text):
    """Splits at the bars that stand outside parentheses."""
    parts, depth, part = [], 0, ""
    for c in text:
        if c == "|" and depth == 0:
            parts.append(part)
            part = ""
            continue
        depth += {"(": 1, ")": -1}.get(c, 0)
        part += c
    return parts + [part]


def expand(text, rng):
    """One random expansion of a pattern."""
    choice = rng.choice(split_top(text))
    out, i = "", 0
    while i < len(choice):
        c = choice[i]
        if c == "@" and re.match(r"@[a-z]+\(", choice[i:]):
            name = re.match(r"@([a-z]+)\(", choice[i:]).group(1)
            start = i + len(name) + 1
            end = close(choice, start)
            inner = expand(choice[start + 1:end], rng)
            out += expand(FRAMES[name].replace("%", inner.replace("|", " ")), rng)
            i = end + 1
        elif c == "(":
            end = close(choice, i)
            part = expand(choice[i + 1:end], rng)
            if i > 0 and choice[i - 1] in ")}" and out[-1:].isalnum() and part[:1].isalnum():
                out += " "
            out += part + (" " if choice[i + 1:end].rstrip("|").endswith(" ") and part else "")
            i = end + 1
        elif c == "{":
            end = choice.index("}", i)
            out += expand(CLASSES[choice[i + 1:end]], rng)
            i = end + 1
        else:
            out += c
            i += 1
    return re.sub(r"\s+", " ", out).strip()
