"""What stands on a pavement: trees, lamps, benches, bins, signs, planters, bollards.

Each builder adds parts around the origin on the ground, +y towards the road. Lengths in metres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine_plugins.street.shapes import Shape, blob, box, cards, ellipsoid, joined, rod, tube
from engine_plugins.street.textures import TILE_M

Add = Callable[[str, Shape], None]


def tree(rng: np.random.Generator, add: Add, foliage: str, size: float, num_leaves: int) -> None:
    """A street tree of about 5.5 m times `size`: trunk, boughs, lumps of leaves, loose leaves."""
    fork = 2.3 * size
    lean = rng.uniform(-0.12, 0.12, 2)
    trunk = [
        (0, 0, 0, 0.17, 0.17),
        (0, 0, 0.3, 0.125, 0.125),
        (*(lean * 0.5), fork * 0.6, 0.11, 0.11),
        (*lean, fork, 0.1, 0.1),
    ]
    wood = [tube(np.array(trunk) * [1, 1, 1, size, size], 9, TILE_M["bark"], caps=False)]
    lumps, centers, outward = [], [], []
    count = int(rng.integers(5, 8))
    turn = rng.uniform(0, 2 * np.pi)
    for k in range(count):
        angle = turn + 2 * np.pi * k / count + rng.uniform(-0.3, 0.3)
        spread = rng.uniform(0.75, 1.25) * size if k else 0.0
        middle = np.array([lean[0] + spread * np.cos(angle), lean[1] + spread * np.sin(angle),
                           fork + size * (rng.uniform(0.75, 1.9) if k else 2.2)])  # fmt: skip
        wood.append(rod([*lean, fork - 0.1], middle, 0.075 * size, 0.03 * size, 6, TILE_M["bark"]))
        radii = size * rng.uniform(0.75, 1.1) * np.array([1, 1, rng.uniform(0.7, 0.9)])
        lumps.append(blob(middle, radii * 0.86, rng, 0.2, 1, TILE_M["leaves"]))
        share = num_leaves // count
        direction = rng.normal(size=(share, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        centers.append(middle + direction * radii * rng.uniform(0.88, 1.18, (share, 1)))
        outward.append(direction)
    add("bark", joined(*wood))
    add(foliage, joined(*lumps))
    add(foliage, cards(np.concatenate(centers), np.concatenate(outward), 0.1 * size, rng))
    pit = box([-0.6, -0.6, 0.0], [0.6, 0.6, 0.012], omit="-z")
    add("soil", pit)


def hedge(rng: np.random.Generator, add: Add, foliage: str, length: float) -> None:
    """A clipped hedge along x, from 0 to length, with loose leaves."""
    add(foliage, box([0, -0.28, 0], [length, 0.28, 0.95], TILE_M["leaves"], omit="-z"))
    count = int(45 * length)
    centers = np.stack([rng.uniform(0, length, count), rng.uniform(-0.28, 0.28, count),
                        np.full(count, 0.95)], -1)  # fmt: skip
    outward = np.tile([0.0, 0, 1], (count, 1))
    front = rng.random(count) < 0.55
    centers[front, 1], centers[front, 2] = 0.28, rng.uniform(0.05, 0.95, front.sum())
    outward[front] = [0, 1, 0]
    add(foliage, cards(centers, outward, 0.09, rng))


def lamp(add: Add, height: float, modern: bool) -> None:
    """A street lamp whose arm, where it has one, reaches over the road."""
    base = [
        (0, 0, 0, 0.12, 0.12),
        (0, 0, 0.5, 0.1, 0.1),
        (0, 0, 0.55, 0.065, 0.065),
        (0, 0, height, 0.045, 0.045),
    ]
    add("iron", tube(base, 9))
    if modern:
        add("iron", rod([0, 0, height - 0.05], [0, 1.5, height + 0.18], 0.04, 0.035, 7))
        add("iron", box([-0.12, 1.2, height + 0.13], [0.12, 1.95, height + 0.24]))
        add("lamp_glass", box([-0.09, 1.35, height + 0.11], [0.09, 1.9, height + 0.13], omit="+z"))
    else:
        glass = [(0, 0, height, 0.1, 0.1), (0, 0, height + 0.42, 0.18, 0.18)]
        add("lamp_glass", tube(glass, 6))
        cap = [
            (0, 0, height + 0.42, 0.22, 0.22),
            (0, 0, height + 0.55, 0.12, 0.12),
            (0, 0, height + 0.68, 0.02, 0.02),
        ]
        add("iron", tube(cap, 6))


def bench(add: Add) -> None:
    """A slatted bench, 1.7 m long, that looks at the road."""
    seat = [box([-0.85, y, 0.43], [0.85, y + 0.1, 0.465]) for y in (-0.22, -0.09, 0.04, 0.17)]
    back = [box([-0.85, -0.29, z], [0.85, -0.25, z + 0.1]) for z in (0.58, 0.74)]
    add("wood", joined(*seat, *back))
    legs = [box([x, y, 0], [x + 0.05, y + 0.05, z]) for x in (-0.75, 0.7)
            for y, z in ((-0.28, 0.86), (0.2, 0.43))]  # fmt: skip
    legs += [box([x, -0.28, 0.39], [x + 0.05, 0.25, 0.43]) for x in (-0.75, 0.7)]
    add("iron", joined(*legs))


def litter_bin(add: Add, color: str) -> None:
    """A round litter bin."""
    add(
        color,
        tube([(0, 0, 0.04, 0.22, 0.22), (0, 0, 0.8, 0.25, 0.25), (0, 0, 0.86, 0.26, 0.26)], 14),
    )
    add("iron", tube([(0, 0, 0.86, 0.2, 0.2), (0, 0, 0.95, 0.19, 0.19), (0, 0, 1.0, 0.1, 0.1)], 14))


def bollard(add: Add) -> None:
    """A cast-iron bollard."""
    rows = [
        (0, 0, 0, 0.09, 0.09),
        (0, 0, 0.75, 0.065, 0.065),
        (0, 0, 0.78, 0.085, 0.085),
        (0, 0, 0.86, 0.085, 0.085),
        (0, 0, 0.93, 0.03, 0.03),
    ]
    add("iron", tube(rows, 9))


def planter(rng: np.random.Generator, add: Add, foliage: str) -> None:
    """A stone planter with a shrub and flowers."""
    add("stone", box([-0.55, -0.3, 0], [0.55, 0.3, 0.5], 2.0, omit="-z"))
    add("soil", box([-0.5, -0.25, 0.5], [0.5, 0.25, 0.51], omit="-z"))
    add(foliage, blob([0, 0, 0.72], [0.5, 0.28, 0.36], rng, 0.16, 1, TILE_M["leaves"]))
    count = 90
    direction = rng.normal(size=(count, 3))
    direction[:, 2] = np.abs(direction[:, 2])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    spots = np.array([0, 0, 0.72]) + direction * [0.54, 0.31, 0.4]
    add(foliage, cards(spots[20:], direction[20:], 0.08, rng))
    add("flower", cards(spots[:20] + direction[:20] * 0.04, direction[:20], 0.06, rng))


def traffic_sign(rng: np.random.Generator, add: Add) -> None:
    """A round traffic sign on a pole, its face to -x (traffic that drives along +x)."""
    add("steel", rod([0, 0, 0], [0, 0, 2.75], 0.03, points=7))
    red = rng.random() < 0.6
    add("sign_red" if red else "sign_blue", rod([-0.035, 0, 2.5], [-0.05, 0, 2.5], 0.3, points=20))
    add("steel", rod([-0.03, 0, 2.5], [-0.035, 0, 2.5], 0.3, points=20))
    if red:
        add("sign_white", rod([-0.05, 0, 2.5], [-0.054, 0, 2.5], 0.21, points=20))
    else:
        add("sign_white", box([-0.056, -0.04, 2.32], [-0.05, 0.04, 2.68]))


def post_box(add: Add) -> None:
    """A pillar box."""
    rows = [
        (0, 0, 0, 0.24, 0.24),
        (0, 0, 0.12, 0.22, 0.22),
        (0, 0, 1.25, 0.22, 0.22),
        (0, 0, 1.27, 0.26, 0.26),
        (0, 0, 1.36, 0.25, 0.25),
        (0, 0, 1.44, 0.08, 0.08),
    ]
    add("sign_red", tube(rows, 16))
    add("iron", box([-0.1, 0.205, 1.05], [0.1, 0.228, 1.1]))


def cafe_table(add: Add) -> None:
    """A round table and two chairs."""
    add(
        "steel",
        joined(
            rod([0, 0, 0], [0, 0, 0.72], 0.025),
            rod([0, 0, 0.72], [0, 0, 0.745], 0.33, points=18),
            rod([0, 0, 0], [0, 0, 0.02], 0.2, points=14),
        ),
    )
    for x in (-0.62, 0.62):
        back = x + np.sign(x) * 0.17
        parts = [box([x - 0.19, -0.19, 0.43], [x + 0.19, 0.19, 0.46]),
                 box([back - 0.015, -0.19, 0.55], [back + 0.015, 0.19, 0.85])]  # fmt: skip
        parts += [box([x + a - 0.012, b - 0.012, 0], [x + a + 0.012, b + 0.012, 0.43])
                  for a in (-0.17, 0.17) for b in (-0.17, 0.17)]  # fmt: skip
        parts += [
            box([back - 0.012, b - 0.012, 0.43], [back + 0.012, b + 0.012, 0.6])
            for b in (-0.17, 0.17)
        ]
        add("wood", joined(*parts))


def parasol(add: Add, canvas: str) -> None:
    """A parasol, 2.5 m high."""
    add("steel", rod([0, 0, 0], [0, 0, 2.5], 0.022, points=7))
    add(canvas, tube([(0, 0, 2.1, 1.25, 1.25), (0, 0, 2.5, 0.03, 0.03)], 8, 1.2, caps=False))
    add("stone", ellipsoid([0, 0, 0.02], [0.25, 0.25, 0.06]))
