"""16 MiB that compress about as source and logs do; always the same."""
import random
import sys

SIZE = 16 << 20


def main():
    r = random.Random(16)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    weights = [1 / (i + 2) for i in range(len(letters))]
    words = ["".join(r.choices(letters, weights, k=r.randint(2, 10)))
        for _ in range(6000)]
    likely = [1 / (i + 3) for i in range(len(words))]
    # Lines are drawn often enough to repeat, with numbers in between.
    lines = [" ".join(r.choices(words, likely, k=r.randint(4, 14)))
        for _ in range(40000)]
    out = []
    size = 0
    while size < SIZE:
        line = "%08x %s %d\n" % (r.getrandbits(32), r.choice(lines),
            r.randint(0, 999))
        out.append(line)
        size += len(line)
    sys.stdout.write("".join(out)[:SIZE])


main()
