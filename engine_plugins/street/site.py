"""A street under construction: its layout, ground, houses, and what stands on its pavements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from engine_plugins.street import furniture
from engine_plugins.street.buildings import build_house, draw_house, facade_space
from engine_plugins.street.materials import foliage_names, street_materials, wall_names
from engine_plugins.street.model import (
    F64,
    Instance,
    Sun,
)
from engine_plugins.street.shapes import MeshBuilder, Shape, box, quads, rigid
from engine_plugins.street.textures import TILE_M

PathName = Literal["drive", "walk"]
Pose = Callable[[float], F64]

KERB_M = 0.13
START_X, END_X = -60.0, 195.0


@dataclass(frozen=True, slots=True)
class Layout:
    """The street's cross-section. half_road: centre to kerb; pavement: kerb to front gardens."""

    half_road: float
    pavement: tuple[float, float]  # left, right
    closed_end: bool

    @property
    def lane_y(self) -> float:
        """Distance of a lane's middle from the road's."""
        return (self.half_road - 2.0) / 2

    @property
    def parking_y(self) -> float:
        """Distance of the middle of a parked car from the road's middle."""
        return self.half_road - 1.05

    def front(self, side: int) -> float:
        """y of the line where the pavement of a side (+1 left, -1 right) ends."""
        return side * (self.half_road + self.pavement[0 if side > 0 else 1])


class Site:
    """The street under construction. Each part draws from its own stream of the seed."""

    def __init__(self, seed: int, path: PathName) -> None:
        self.seed, self.path = seed, path
        self.builder = MeshBuilder()
        self.instances: list[Instance] = []
        self.poses: list[Pose] = []
        rng = self.stream(0)
        self.layout = Layout(
            half_road=float(rng.uniform(4.9, 6.0)),
            pavement=(float(rng.uniform(2.6, 4.6)), float(rng.uniform(2.6, 4.6))),
            closed_end=bool(rng.random() < 0.5),
        )
        self.materials = street_materials(self.stream(2))
        self.foliage = foliage_names(self.stream(3))

    def stream(self, part: int) -> np.random.Generator:
        """The random stream of one part, so that parts do not disturb each other."""
        return np.random.default_rng([20_240_907, self.seed, part])

    def instance(self, name: str, semantic: str) -> int:
        """Register an object; its id."""
        self.instances.append(Instance(len(self.instances) + 1, name, semantic))
        return len(self.instances)

    def placer(self, instance: int, matrix: F64) -> Callable[[str, Shape], None]:
        """An `add` for builders that work around their own origin."""

        def add(material: str, shape: Shape) -> None:
            self.builder.add(material, shape.moved(matrix), instance)

        return add

    def sun(self) -> Sun:
        """The seed's sun: 34 to 58 degrees high, 15 to 75 degrees off the street's axis."""
        rng = self.stream(4)
        elevation = np.radians(rng.uniform(34, 58))
        off_axis = np.radians(rng.uniform(15, 75)) * rng.choice([-1, 1])
        azimuth = off_axis + (np.pi if rng.random() < 0.4 else 0.0)
        direction = np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        return Sun(direction, float(rng.uniform(2.2, 4.5)))

    def ground(self) -> None:
        """Road with markings, kerbs, pavements, and the land around."""
        lay, rng = self.layout, self.stream(5)
        half = lay.half_road
        road, marks = self.instance("road", "ground"), self.instance("road markings", "ground")
        walk, land = self.instance("pavement", "ground"), self.instance("land", "ground")
        end = END_X if lay.closed_end else END_X + 400
        self._sheet("asphalt", START_X - 200, end, -half, half, 0.0, road)
        white = "paint_white"
        lane = float(rng.choice([0.0, 1.0]))
        for x in np.arange(START_X, min(end, END_X + 60), 6.0):
            self._sheet(white, x, x + 2.2 + lane, -0.07, 0.07, 0.006, marks)
        if rng.random() < 0.6:
            for side in (1, -1):
                y = side * (half - 2.1)
                for x in np.arange(START_X, END_X, 5.5):
                    self._sheet(
                        white,
                        x,
                        x + 0.1,
                        min(y, y + side * 2.0),
                        max(y, y + side * 2.0),
                        0.006,
                        marks,
                    )
        for crossing in rng.uniform(25, 150, 2):
            for y in np.arange(-half + 0.4, half - 0.5, 1.0):
                self._sheet(white, crossing, crossing + 3.0, y, y + 0.5, 0.008, marks)
        for x in rng.uniform(START_X, END_X, 9):
            y = rng.uniform(-half + 1, half - 1)
            self._sheet("iron", x, x + 0.62, y, y + 0.62, 0.007, marks)
        for side in (1, -1):
            y0, y1 = sorted((side * (half + 0.16), lay.front(side)))
            self._sheet("slabs", START_X - 200, end, y0, y1, KERB_M, walk)
            k0, k1 = sorted((side * half, side * (half + 0.16)))
            for x in np.arange(START_X - 200, end, 100.0):
                stop = min(x + 100.0, end)
                self.builder.add(
                    "kerb", box([x, k0, -0.05], [stop, k1, KERB_M + 0.012], 1.0, "-z -x +x"), walk
                )
            y0, y1 = sorted((lay.front(side), side * 400.0))
            self._sheet("grass", START_X - 200, end + 200, y0, y1, KERB_M - 0.01, land)
        if lay.closed_end:
            self._sheet("slabs", END_X, END_X + 200, lay.front(-1), lay.front(1), KERB_M, walk)

    def _sheet(
        self, material: str, x0: float, x1: float, y0: float, y1: float, z: float, who: int
    ) -> None:
        tile = TILE_M.get(self.materials[material].texture or "", 2.0)
        steps = np.linspace(x0, x1, max(2, int((x1 - x0) / 60) + 2))
        corners = [[[a, y0, z], [b, y0, z], [b, y1, z], [a, y1, z]]
                   for a, b in pairwise(steps)]  # fmt: skip
        shape = quads(corners, uvs=np.array(corners)[..., :2] / tile)
        self.builder.add(material, shape, who)

    def houses(self) -> None:
        """Both rows of houses, with setbacks, gaps and what fills them, and the one at the end."""
        walls = wall_names(self.stream(6))
        for side in (1, -1):
            rng = self.stream(10 + side)
            x = START_X + float(rng.uniform(0, 6))
            while x < END_X:
                width = float(rng.uniform(7.5, 16))
                setback = float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.4, 2.6)]))
                house = draw_house(rng, width, walls)
                who = self.instance("building", "wall")
                y = self.layout.front(side) + side * setback
                matrix = facade_space(x + width if side > 0 else x, y, side)
                matrix[2, 3] = KERB_M - 0.01
                build_house(house, rng, self.placer(who, matrix))
                if setback > 1.2 and not house.shop:
                    self._front_garden(rng, x, width, side)
                elif setback > 0:
                    y0, y1 = sorted((self.layout.front(side), y))
                    self._sheet("slabs", x, x + width, y0, y1, KERB_M, who)
                x += width
                if rng.random() < 0.22:
                    gap = float(rng.uniform(1.5, 6.5))
                    self._gap(rng, x, gap, side)
                    x += gap
        if self.layout.closed_end:
            rng = self.stream(13)
            width = self.layout.front(1) - self.layout.front(-1) + 12
            house = draw_house(rng, width, walls)
            who = self.instance("building at the end", "wall")
            turn = np.array([[0, -1, 0, END_X + 14], [1, 0, 0, self.layout.front(-1) - 6],
                             [0, 0, 1, KERB_M], [0, 0, 0, 1]], dtype=np.float64)  # fmt: skip
            build_house(house, rng, self.placer(who, turn))

    def _front_garden(self, rng: np.random.Generator, x: float, width: float, side: int) -> None:
        who = self.instance("hedge", "foliage")
        front = rigid(x if side < 0 else x + width, self.layout.front(side) + side * 0.35, KERB_M,
                      np.pi if side > 0 else 0.0)  # fmt: skip
        furniture.hedge(rng, self.placer(who, front), str(rng.choice(self.foliage)), width * 0.36)
        far = front @ rigid(width * 0.64)
        furniture.hedge(rng, self.placer(who, far), str(rng.choice(self.foliage)), width * 0.36)

    def _gap(self, rng: np.random.Generator, x: float, gap: float, side: int) -> None:
        who = self.instance("garden wall", "wall")
        y = self.layout.front(side) + side * 0.5
        y0, y1 = sorted((y, y + side * 0.25))
        self.builder.add(
            "brick_b", box([x, y0, 0], [x + gap, y1, KERB_M + 2.1], 2.4, omit="-z"), who
        )
        cap = box([x, y0 - 0.04, KERB_M + 2.1], [x + gap, y1 + 0.04, KERB_M + 2.2], 2.0)
        self.builder.add("stone", cap, who)
        plant = self.instance("tree", "foliage")
        place = rigid(
            x + gap / 2, y + side * float(rng.uniform(2.5, 5)), KERB_M, float(rng.uniform(0, 6))
        )
        furniture.tree(rng, self.placer(plant, place), str(rng.choice(self.foliage)), 1.25, 300)

    def backdrop(self) -> None:
        """Distant blocks, so that gaps and an open end show a town."""
        rng = self.stream(7)
        for side in (1, -1):
            for x in np.arange(START_X - 150, END_X + 330, 34.0):
                self._block(
                    rng, x, self.layout.front(side) + side * float(rng.uniform(26, 60)), side
                )
        for y in np.arange(-100, 101, 22.0):
            if abs(y) > 14 or not self.layout.closed_end:
                self._block(rng, END_X + float(rng.uniform(230, 330)), y, 1)
            self._block(rng, START_X - float(rng.uniform(120, 200)), y, 1)

    def _block(self, rng: np.random.Generator, x: float, y: float, side: int) -> None:
        who = self.instance("distant building", "wall")
        w, d, h = rng.uniform(14, 30), rng.uniform(10, 18), rng.uniform(8, 24)
        y0, y1 = sorted((y, y + side * d))
        shape = box([x, y0, 0], [x + w, y1, h], 12.0, omit="-z +z")
        self.builder.add(f"backdrop_{int(rng.integers(3))}", shape, who)
        self.builder.add(
            "roof_flat", box([x - 0.3, y0 - 0.3, h], [x + w + 0.3, y1 + 0.3, h + 0.5], 3.0), who
        )

    def pavements(self) -> None:
        """Trees, lamps, benches, bins and signs along each kerb; tables at the houses."""
        lay, rng = self.layout, self.stream(8)
        spacing, size = float(rng.uniform(11, 17)), float(rng.uniform(0.95, 1.3))
        planted = rng.random(2) < 0.8
        modern, lamp_m = bool(rng.random() < 0.6), float(rng.uniform(4.6, 6.4))
        for side in (1, -1):
            y = side * (lay.half_road + 0.62)
            yaw = np.pi if side > 0 else 0.0
            for k, x in enumerate(np.arange(START_X + rng.uniform(0, 8), END_X, spacing)):
                at = rigid(float(x), y, KERB_M, yaw)
                if planted[0 if side > 0 else 1] and rng.random() < 0.8:
                    grown = size * float(rng.uniform(0.85, 1.15))
                    near = -15 < x < 120
                    add = self.placer(self.instance("tree", "foliage"), at)
                    furniture.tree(rng, add, self.foliage[k % 2], grown, 720 if near else 260)
                lamp_at = at @ rigid(spacing * 0.5)
                if k % 2 == 0:
                    furniture.lamp(
                        self.placer(self.instance("lamp", "prop"), lamp_at), lamp_m, modern
                    )
                self._furnish(rng, at @ rigid(float(rng.uniform(-3.2, -2.2)) if side > 0 else 2.6))
                self._furnish(rng, at @ rigid(spacing * 0.5 + float(rng.uniform(1.5, 2.5))))
        for side in (1, -1):
            for x in rng.uniform(-10, 120, 3):
                self._cafe(rng, float(x), side)

    def _furnish(self, rng: np.random.Generator, at: F64) -> None:
        kind = rng.choice(["bench", "bin", "bollard", "planter", "sign", "post", "none"],
                          p=[0.18, 0.17, 0.13, 0.14, 0.1, 0.05, 0.23])  # fmt: skip
        if kind == "none":
            return
        names = {"bin": "litter bin", "post": "post box", "sign": "traffic sign"}
        add = self.placer(self.instance(names.get(str(kind), str(kind)), "prop"), at)
        match kind:
            case "bench":
                furniture.bench(add)
            case "bin":
                furniture.litter_bin(add, str(rng.choice(["bin_green", "steel", "iron"])))
            case "bollard":
                furniture.bollard(add)
            case "planter":
                furniture.planter(rng, add, self.foliage[0])
            case "sign":
                furniture.traffic_sign(rng, add)
            case _:
                furniture.post_box(add)

    def _cafe(self, rng: np.random.Generator, x: float, side: int) -> None:
        at = rigid(x, self.layout.front(side) - side * 0.55, KERB_M)
        add = self.placer(self.instance("cafe table", "prop"), at)
        furniture.cafe_table(add)
