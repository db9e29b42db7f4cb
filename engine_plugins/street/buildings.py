"""Houses with real depth: recessed windows with frames and sills, cornices, shops, roofs.

A house is built in its facade's space (y out of the facade towards the street, z up, x along the
facade, to the left as seen from the street; the ground line at z = 0), then moved into the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine_plugins.street.model import F64
from engine_plugins.street.shapes import Shape, box, joined, polygon, quads, rod
from engine_plugins.street.textures import SIGN_ROWS, TILE_M

Add = Callable[[str, Shape], None]

GLASS_KINDS = ("glass_dark", "glass_curtain", "glass_blinds")


@dataclass(frozen=True, slots=True)
class House:
    """The choices that make one house. Lengths in metres."""

    width: float
    depth: float
    num_floors: int
    floor_m: float
    ground_m: float
    bays: int
    window: tuple[float, float]
    wall: str
    wall_tile: float
    base: str
    trim: str
    frame: str
    recess: float
    shop: bool
    pitched: bool
    balconies: bool
    shutters: bool
    lintels: bool

    @property
    def height(self) -> float:
        """Height of the eaves."""
        return self.ground_m + self.num_floors * self.floor_m


def draw_house(rng: np.random.Generator, width: float, walls: list[str]) -> House:
    """A house of the given width; walls: the materials to choose from."""
    shop = bool(rng.random() < 0.5)
    bay = rng.uniform(2.2, 3.2)
    bays = max(2, round(width / bay))
    wall = str(rng.choice(walls))
    kind = wall.split("_")[0]
    return House(
        width=width,
        depth=float(rng.uniform(8, 13)),
        num_floors=int(rng.choice([1, 2, 3, 4, 5], p=[0.16, 0.3, 0.28, 0.18, 0.08])),
        floor_m=float(rng.uniform(2.9, 3.4)),
        ground_m=float(rng.uniform(3.5, 4.2) if shop else rng.uniform(3.0, 3.6)),
        bays=bays,
        window=(float(width / bays * rng.uniform(0.4, 0.56)), float(rng.uniform(1.35, 1.95))),
        wall=wall,
        wall_tile=TILE_M[kind],
        base=str(rng.choice(["stone", "plaster_dark", wall])),
        trim=str(rng.choice(["trim_white", "stone", "trim_white"])),
        frame=str(rng.choice(["frame_white", "frame_dark", "frame_white", "frame_wood"])),
        recess=float(rng.uniform(0.14, 0.26)),
        shop=shop,
        pitched=bool(rng.random() < 0.45),
        balconies=bool(rng.random() < 0.25),
        shutters=bool(rng.random() < 0.2),
        lintels=bool(rng.random() < 0.6),
    )


def wall_with_holes(xs: ArrayLike, zs: ArrayLike, holes: NDArray[np.bool_], tile: float) -> Shape:
    """The plane y = 0 over grid lines xs, zs without the cells in holes (len(zs)-1, len(xs)-1)."""
    x, z = np.asarray(xs, dtype=np.float64), np.asarray(zs, dtype=np.float64)
    rows, cols = np.nonzero(~holes)
    corners = np.zeros((len(rows), 4, 3))
    corners[:, :, 0] = np.stack([x[cols + 1], x[cols], x[cols], x[cols + 1]], 1)
    corners[:, :, 2] = np.stack([z[rows], z[rows], z[rows + 1], z[rows + 1]], 1)
    return quads(corners, uvs=corners[..., [0, 2]] * [-1, 1] / tile)


def window(w: float, h: float, recess: float, rng: np.random.Generator) -> dict[str, Shape]:
    """One window, its lower corner at the origin, as "wall", "frame", "sill" and "glass"."""
    d, f = -recess, 0.055
    faces: list[list[list[float]]] = [
        [[0, 0, h], [0, d, h], [0, d, 0], [0, 0, 0]],
        [[w, d, h], [w, 0, h], [w, 0, 0], [w, d, 0]],
        [[w, d, 0], [w, 0, 0], [0, 0, 0], [0, d, 0]],
        [[w, 0, h], [w, d, h], [0, d, h], [0, 0, h]],
    ]
    reveal = quads(faces)
    bars = [
        box([0, d, 0], [f, d + 0.06, h], omit="-y"),
        box([w - f, d, 0], [w, d + 0.06, h], omit="-y"),
        box([f, d, 0], [w - f, d + 0.06, f], omit="-y"),
        box([f, d, h - f], [w - f, d + 0.06, h], omit="-y"),
    ]
    style = int(rng.integers(3))
    if style != 1:
        bars.append(box([w / 2 - 0.025, d, f], [w / 2 + 0.025, d + 0.05, h - f], omit="-y -z +z"))
    if style != 2:
        z = h * 0.68
        bars.append(box([f, d, z - 0.025], [w - f, d + 0.05, z + 0.025], omit="-y -x +x"))
    sill = box([-0.06, d, -0.07], [w + 0.06, 0.07, 0.0], omit="-y")
    return {"wall": reveal, "frame": joined(*bars), "sill": sill, "glass": pane(0, 0, w, h, d)}


def pane(x0: float, z0: float, x1: float, z1: float, y: float) -> Shape:
    """A rectangle at depth y that faces the street, one texture repeat over all of it."""
    corners = [[x1, y, z0], [x0, y, z0], [x0, y, z1], [x1, y, z1]]
    return quads([corners], uvs=[[0, 0], [1, 0], [1, 1], [0, 1]])


def build_house(house: House, rng: np.random.Generator, add: Add) -> None:
    """Add every part of the house in its facade's space, from x = 0 to x = width."""
    _upper_floors(house, rng, add)
    if house.shop:
        _shop_front(house, rng, add)
    else:
        _ground_floor(house, rng, add)
    _shell_and_roof(house, rng, add)


def _upper_floors(house: House, rng: np.random.Generator, add: Add) -> None:
    w, h = house.window
    pitch = house.width / house.bays
    left = pitch * (np.arange(house.bays) + 0.5) - w / 2
    sill_m = max(0.25, min(0.85, house.floor_m - h - 0.35))
    bottom = house.ground_m + house.floor_m * np.arange(house.num_floors) + sill_m
    xs = np.concatenate([[0], np.stack([left, left + w], 1).ravel(), [house.width]])
    top = house.height
    zs = np.concatenate([[house.ground_m], np.stack([bottom, bottom + h], 1).ravel(), [top]])
    holes = np.zeros((len(zs) - 1, len(xs) - 1), dtype=bool)
    holes[1::2, 1::2] = True
    add(house.wall, wall_with_holes(xs, zs, holes, house.wall_tile))
    gx, gz = np.meshgrid(left, bottom)
    spots = np.stack([gx.ravel(), np.zeros(gx.size), gz.ravel()], -1)
    part = window(w, h, house.recess, rng)
    add(house.trim if house.lintels else house.wall, part["wall"].repeated(spots))
    add(house.frame, part["frame"].repeated(spots))
    add(house.trim, part["sill"].repeated(spots))
    kinds = rng.choice(len(GLASS_KINDS), len(spots), p=[0.45, 0.35, 0.2])
    for k, name in enumerate(GLASS_KINDS):
        if (kinds == k).any():
            add(name, part["glass"].repeated(spots[kinds == k]))
    if house.lintels:
        lintel = box([-0.1, 0, h], [w + 0.1, 0.05, h + 0.2], omit="-y")
        sides = [box([-0.1, 0, 0], [0, 0.04, h], omit="-y"),
                 box([w, 0, 0], [w + 0.1, 0.04, h], omit="-y")]  # fmt: skip
        add(house.trim, joined(lintel, *sides).repeated(spots))
    if house.shutters and pitch > 1.9 * w:
        leaf = w * 0.42
        pair = joined(box([-leaf - 0.11, 0.04, 0], [-0.11, 0.075, h]),
                      box([w + 0.11, 0.04, 0], [w + leaf + 0.11, 0.075, h]))  # fmt: skip
        add("shutter", pair.repeated(spots))
    if house.balconies and sill_m > 0.2:
        chosen = spots[rng.random(len(spots)) < 0.35] - [0, 0, sill_m]
        if len(chosen):
            slab, rail = _balcony(w)
            add("stone", slab.repeated(chosen))
            add("iron", rail.repeated(chosen))


def _balcony(w: float) -> tuple[Shape, Shape]:
    lo, hi, out = -0.3, w + 0.3, 0.85
    slab = box([lo, 0, -0.14], [hi, out, 0], 2.0, omit="-y")
    bars = [box([x, out - 0.06, 0], [x + 0.022, out - 0.038, 0.95], omit="-z +z")
            for x in np.arange(lo + 0.03, hi, 0.16)]  # fmt: skip
    top = [box([lo, out - 0.07, 0.95], [hi, out - 0.02, 1.0]),
           box([lo, 0, 0.95], [lo + 0.05, out - 0.07, 1.0], omit="-y +y"),
           box([hi - 0.05, 0, 0.95], [hi, out - 0.07, 1.0], omit="-y +y")]  # fmt: skip
    return slab, joined(*bars, *top)


def _door(x: float, w: float, h: float, recess: float) -> dict[str, Shape]:
    d = -recess
    leaf = box([x, d - 0.04, 0.02], [x + w, d, h - 0.42], omit="-y -z")
    boards = [box([x + w * a, d, z0], [x + w * (a + 0.34), d + 0.02, z1], omit="-y")
              for a in (0.1, 0.56) for z0, z1 in ((0.2, 0.85), (0.98, h - 0.6))]  # fmt: skip
    knob = rod([x + w * 0.9, d, 1.02], [x + w * 0.9, d + 0.07, 1.02], 0.035)
    bar = box([x, d, h - 0.42], [x + w, d + 0.05, h - 0.36], omit="-y")
    return {
        "door": joined(leaf, *boards), "iron": knob, "frame_white": bar,
        "glass_dark": pane(x, h - 0.36, x + w, h, d),
    }  # fmt: skip


def _reveals(spans: list[tuple[float, float]], z0: float, z1: float, depth: float) -> Shape:
    parts = []
    for a, b in spans:
        parts.append(quads([
            [[a, 0, z1], [a, -depth, z1], [a, -depth, z0], [a, 0, z0]],
            [[b, -depth, z1], [b, 0, z1], [b, 0, z0], [b, -depth, z0]],
            [[b, -depth, z0], [b, 0, z0], [a, 0, z0], [a, -depth, z0]],
            [[b, 0, z1], [b, -depth, z1], [a, -depth, z1], [a, 0, z1]],
        ]))  # fmt: skip
    return joined(*parts)


def _ground_floor(house: House, rng: np.random.Generator, add: Add) -> None:
    w, h = house.window
    pitch = house.width / house.bays
    door_bay = int(rng.integers(house.bays))
    xs, kinds = [0.0], []
    for bay in range(house.bays):
        half = 0.55 if bay == door_bay else w / 2
        mid = pitch * (bay + 0.5)
        xs += [mid - half, mid + half]
        kinds.append(bay == door_bay)
    xs.append(house.width)
    z0, z1 = 0.95, min(0.95 + h, house.ground_m - 0.45)
    door_h = min(2.5, z1)
    zs = [0.0, z0, door_h, z1, house.ground_m] if door_h < z1 else [0.0, z0, z1, house.ground_m]
    holes = np.zeros((len(zs) - 1, len(xs) - 1), dtype=bool)
    for bay, is_door in enumerate(kinds):
        top = zs.index(door_h if is_door else z1)
        holes[(0 if is_door else 1) : top, 2 * bay + 1] = True
    tile = house.wall_tile if house.base == house.wall else 4.0
    add(house.base, wall_with_holes(xs, zs, holes, tile))
    part = window(w, z1 - z0, house.recess, rng)
    left = [xs[2 * b + 1] for b in range(house.bays) if b != door_bay]
    spots = [[x, 0, z0] for x in left]
    for material, name in ((house.base, "wall"), (house.frame, "frame"), (house.trim, "sill")):
        add(material, part[name].repeated(spots))
    add(GLASS_KINDS[int(rng.integers(3))], part["glass"].repeated(spots))
    x = xs[2 * door_bay + 1]
    for material, shape in _door(x, 1.1, door_h, 0.25).items():
        add(material, shape)
    add(house.base, _reveals([(x, x + 1.1)], 0.0, door_h, 0.25))
    step = box([x - 0.15, 0, 0], [x + 1.25, 0.35, 0.12], 2.0, omit="-y -z")
    add("stone", step)
    if rng.random() < 0.5:
        add(
            house.trim, box([x - 0.25, 0, door_h + 0.12], [x + 1.35, 0.6, door_h + 0.24], omit="-y")
        )


def _shop_front(house: House, rng: np.random.Generator, add: Add) -> None:
    top, low, d = house.ground_m - 0.85, 0.5, 0.22
    count = max(1, round(house.width / 3.4))
    pitch = house.width / count
    door_bay = int(rng.integers(count))
    xs, spans, door_x = [0.0], [], 0.0
    for bay in range(count):
        a, b = bay * pitch + 0.22, (bay + 1) * pitch - 0.22
        if bay == door_bay:
            door_x = a
            a += 1.15
        spans.append((a, b))
        xs += [door_x, a, b] if bay == door_bay else [a, b]
    xs.append(house.width)
    edges = sorted(set(xs))
    zs = [0.0, low, top, house.ground_m]
    holes = np.zeros((3, len(edges) - 1), dtype=bool)
    for a, b in spans:
        holes[1, edges.index(a)] = True
        assert edges[edges.index(a) + 1] == b
    holes[:2, edges.index(door_x)] = True
    front = f"shop_{rng.choice(['green', 'red', 'navy', 'cream', 'black'])}"
    add(front, wall_with_holes(edges, zs, holes, 2.0))
    add(front, _reveals(spans, low, top, d))
    add(front, _reveals([(door_x, door_x + 1.15)], 0.0, top, d))
    inside = f"glass_shop_{rng.choice(['a', 'b'])}"
    for a, b in spans:
        add(inside, pane(a, low, b, top, -d))
        bars = [box([a, -d, low], [a + 0.06, -d + 0.06, top], omit="-y"),
                box([b - 0.06, -d, low], [b, -d + 0.06, top], omit="-y"),
                box([a, -d, top - 0.06], [b, -d + 0.06, top], omit="-y")]  # fmt: skip
        bars += [box([x, -d, low], [x + 0.05, -d + 0.05, top], omit="-y")
                 for x in np.linspace(a, b, max(2, round((b - a) / 1.6)) + 1)[1:-1]]  # fmt: skip
        add(front, joined(*bars))
        add("stone", box([a - 0.05, -d, low - 0.06], [b + 0.05, 0.09, low], omit="-y"))
    for material, shape in _door(door_x, 1.15, top, d).items():
        add(material, shape)
    add("stone", box([0.0, 0, 0], [house.width, 0.03, 0.3], 2.0, omit="-y -z"))
    _sign(house, rng, add, top, front)
    if rng.random() < 0.55:
        _awning(spans, rng, add, top)


def _sign(house: House, rng: np.random.Generator, add: Add, top: float, front: str) -> None:
    height = 0.55
    length = min(height * 8, house.width - 0.6)
    x0 = (house.width - length) / 2
    z0 = top + 0.14
    add(front, box([0.1, 0, z0 - 0.06], [house.width - 0.1, 0.1, z0 + height + 0.06], omit="-y"))
    row = int(rng.integers(SIGN_ROWS))
    crop = (1 - length / (height * 8)) / 2
    u0, u1, v0, v1 = crop, 1 - crop, (row + 0.04) / SIGN_ROWS, (row + 0.96) / SIGN_ROWS
    x1 = x0 + length
    corners = [[x1, 0.12, z0], [x0, 0.12, z0], [x0, 0.12, z0 + height], [x1, 0.12, z0 + height]]
    face = quads([corners], uvs=[[u0, v0], [u1, v0], [u1, v1], [u0, v1]])
    add("signs", face)
    add(front, box([x0, 0.1, z0], [x1, 0.119, z0 + height], omit="-y +y"))


def _awning(
    spans: list[tuple[float, float]], rng: np.random.Generator, add: Add, top: float
) -> None:
    out, drop = float(rng.uniform(0.9, 1.4)), float(rng.uniform(0.35, 0.6))
    canvas = f"awning_{rng.choice(['a', 'b'])}"
    for a, b in spans:
        z = top + 0.05
        corners = [
            [[b, out, z - drop], [a, out, z - drop], [a, 0.1, z], [b, 0.1, z]],
            [
                [b, out, z - drop - 0.2],
                [a, out, z - drop - 0.2],
                [a, out, z - drop],
                [b, out, z - drop],
            ],
        ]
        length, slope = (b - a) / 1.2, float(np.hypot(out, drop)) / 1.2
        top_uv: list[list[float]] = [[length, 0], [0, 0], [0, slope], [length, slope]]
        apron_uv: list[list[float]] = [[length, 0], [0, 0], [0, 0.16], [length, 0.16]]
        ends = [polygon([[x, 0.1, z], [x, out, z - drop], [x, 0.1, z - drop]]) for x in (a, b)]
        add(canvas, joined(quads(corners, uvs=[top_uv, apron_uv]), *ends))


def _shell_and_roof(house: House, rng: np.random.Generator, add: Add) -> None:
    w, h, d = house.width, house.height, house.depth
    sides = box([0, -d, 0], [w, 0, h], house.wall_tile, omit="+y -z +z")
    add(house.wall, sides)
    course = box(
        [-0.03, 0, house.ground_m - 0.12], [w + 0.03, 0.09, house.ground_m + 0.1], omit="-y"
    )
    add(house.trim, course)
    cornice = [box([-0.05, -0.1, h - 0.28], [w + 0.05, 0.14, h - 0.1]),
               box([-0.1, -0.1, h - 0.1], [w + 0.1, 0.28, h + 0.06])]  # fmt: skip
    add(house.trim, joined(*cornice))
    roof = f"roof_{rng.choice(['slate', 'tile'])}"
    if house.pitched:
        rise = d / 2 * float(rng.uniform(0.55, 0.85))
        over, ridge, low = 0.3, h + rise, h + 0.06 - 0.3 * 2 * rise / d
        lo, hi, mid = -0.15, w + 0.15, -d / 2
        slopes = [
            [[hi, over, low], [lo, over, low], [lo, mid, ridge], [hi, mid, ridge]],
            [[lo, -d - over, low], [hi, -d - over, low], [hi, mid, ridge], [lo, mid, ridge]],
        ]
        add(roof, quads(slopes, TILE_M["roof"]))
        end = [[0, 0, h], [0, -d, h], [0, mid, ridge - 0.06]]
        far = [[w, y, z] for _, y, z in end[::-1]]
        add(house.wall, joined(polygon(end, house.wall_tile), polygon(far, house.wall_tile)))
        for x in rng.uniform(0.6, w - 0.6, int(rng.integers(1, 3))):
            add(
                "brick_a",
                box(
                    [x - 0.4, -d / 2 - 0.9, h + rise * 0.5],
                    [x + 0.4, -d / 2 - 0.25, h + rise + 0.9],
                    2.4,
                    omit="-z",
                ),
            )
    else:
        rim = [
            box([0, -0.25, h], [w, 0, h + 0.6], house.wall_tile, omit="-z"),
            box([0, -d, h], [w, -d + 0.25, h + 0.6], house.wall_tile, omit="-z"),
            box([0, -d + 0.25, h], [0.25, -0.25, h + 0.6], house.wall_tile, omit="-z -y +y"),
            box([w - 0.25, -d + 0.25, h], [w, -0.25, h + 0.6], house.wall_tile, omit="-z -y +y"),
        ]
        add(house.wall, joined(*rim))
        add(
            "roof_flat",
            quads([[[w, 0, h + 0.05], [0, 0, h + 0.05], [0, -d, h + 0.05], [w, -d, h + 0.05]]]),
        )
        for x in rng.uniform(1, w - 1, int(rng.integers(1, 4))):
            s, y = rng.uniform(0.4, 0.9), -rng.uniform(2, d - 1.5)
            add(
                "iron", box([x - s, y - s, h], [x + s, y + s, h + rng.uniform(1.0, 1.7)], omit="-z")
            )
    pipe = 0.16 if rng.random() < 0.5 else w - 0.16
    add("iron", rod([pipe, 0.09, 0.1], [pipe, 0.09, h - 0.3], 0.05, points=6))


def facade_space(x: float, y: float, side: int) -> F64:
    """World from facade space: side +1 stands left of the road (facade looks to -y), -1 right."""
    yaw = np.pi if side > 0 else 0.0
    c = np.cos(yaw)
    return np.array([[c, 0, 0, x], [0, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float64)
