"""The planets' movement around the sun, in plain Python: nbody.py STEPS."""
import math
import sys

# Position (AU), velocity (AU a day), mass (of the sun)
BODIES = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    [4.84, -1.16, -0.10, 0.00166, 0.00770, -0.0000690, 9.55e-4],
    [8.34, 4.12, -0.40, -0.00277, 0.00500, 0.0000230, 2.86e-4],
    [12.89, -15.11, -0.22, 0.00296, 0.00238, -0.0000297, 4.37e-5],
    [15.38, -25.92, 0.18, 0.00268, 0.00163, -0.0000952, 5.15e-5],
]
GRAVITY = 2.959e-4


def advance(bodies, pairs, dt):
    for a, b in pairs:
        dx = a[0] - b[0]
        dy = a[1] - b[1]
        dz = a[2] - b[2]
        d2 = dx * dx + dy * dy + dz * dz
        f = GRAVITY * dt / (d2 * math.sqrt(d2))
        fa = f * b[6]
        fb = f * a[6]
        a[3] -= dx * fa
        a[4] -= dy * fa
        a[5] -= dz * fa
        b[3] += dx * fb
        b[4] += dy * fb
        b[5] += dz * fb
    for body in bodies:
        body[0] += dt * body[3]
        body[1] += dt * body[4]
        body[2] += dt * body[5]


def main():
    pairs = [(a, b) for i, a in enumerate(BODIES) for b in BODIES[i + 1:]]
    for _ in range(int(sys.argv[1])):
        advance(BODIES, pairs, 0.5)
    print(" ".join("%.12g" % x for body in BODIES for x in body[:3]))


main()
