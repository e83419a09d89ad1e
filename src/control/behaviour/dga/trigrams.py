#!/usr/bin/env python3
"""Trains the character model of `dga`: how surprising a letter is behind the two before it, in names put together of English words.

Source: the word list of Debian's package wamerican (SCOWL, free to use; `apt-get install wamerican`), nothing else. Writes
trigrams.bin beside itself: 29^3 bytes, each an eighth of a bit, index (first * 29 + second) * 29 + third; symbols are
a-z, '-', any digit, and the name's edge. Prints what the threshold of `dga` rests on, on words that were kept out of the training.
Deterministic: python3 src/control/behaviour/dga/trigrams.py [WORDS]
"""
import math
import pathlib
import random
import sys

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIZE, HYPHEN, DIGIT, EDGE = 29, 26, 27, 28
# Of each context's letters that none of the words has; and of everything, what has no context.
SMOOTHING = 0.3


def symbol(letter):
    if letter in LETTERS:
        return LETTERS.index(letter)
    return HYPHEN if letter == "-" else DIGIT


def triples(name):
    line = [EDGE, EDGE] + [symbol(letter) for letter in name] + [EDGE]
    return zip(line, line[1:], line[2:])


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/dict/american-english"
    words = sorted({line.strip().lower() for line in open(path, encoding="utf-8")})
    words = [word for word in words if len(word) >= 3 and all(letter in LETTERS for letter in word)]
    dice = random.Random(1)
    dice.shuffle(words)
    held, taught = words[: len(words) // 10], words[len(words) // 10 :]
    names = list(taught)
    # Names of sites are words, words side by side, with a hyphen now and then, rarely a number.
    for _ in range(len(taught)):
        first, second = dice.choice(taught), dice.choice(taught)
        names.append(first + dice.choice(["", "", "", "-"]) + second)
    for _ in range(len(taught) // 10):
        names.append(dice.choice(taught) + str(dice.randrange(1, 1000)))
    counts = [[0.0] * SIZE for _ in range(SIZE * SIZE)]
    single = [0.0] * SIZE
    for name in names:
        for first, second, third in triples(name):
            counts[first * SIZE + second][third] += 1
            single[third] += 1
    total = sum(single)
    table = bytearray()
    for row in counts:
        seen = sum(row)
        for third in range(SIZE):
            back = (single[third] + 1) / (total + SIZE)
            chance = (row[third] + SMOOTHING * SIZE * back) / (seen + SMOOTHING * SIZE)
            table.append(min(255, round(-8 * math.log2(chance))))
    pathlib.Path(__file__).with_name("trigrams.bin").write_bytes(table)

    def bits(name):
        costs = [table[(a * SIZE + b) * SIZE + c] / 8 for a, b, c in triples(name)]
        return sum(costs) / len(costs)

    def pairs(count):
        return [dice.choice(held) + dice.choice(held) for _ in range(count)]

    alphabets = {"letters": LETTERS, "letters and digits": LETTERS + "0123456789", "hex": "0123456789abcdef"}

    def drawn(of):
        return "".join(dice.choice(of) for _ in range(dice.randrange(8, 20)))

    def syllables():
        pair = lambda: dice.choice("bcdfghjklmnpqrstvwxz") + dice.choice("aeiouy")
        return "".join(pair() for _ in range(dice.randrange(4, 7)))

    groups = {"held words": [word for word in held if len(word) >= 6], "held pairs": pairs(10000)}
    groups |= {f"random {name}": [drawn(of) for _ in range(10000)] for name, of in alphabets.items()}
    groups["consonant and vowel"] = [syllables() for _ in range(10000)]
    for name, group in groups.items():
        scores = sorted(bits(one) for one in group)
        at = lambda share: scores[int(share * (len(scores) - 1))]
        above = sum(score >= 5.0 for score in scores) / len(scores)
        print(f"{name}: median {at(0.5):.2f} bits a letter, 1 % {at(0.01):.2f}, 99 % {at(0.99):.2f}; {above:.1%} at 5 or more")


main()
