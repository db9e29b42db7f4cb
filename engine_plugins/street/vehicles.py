"""Cars: a lofted body with wheel arches, a glazed cabin, wheels and lamps.

A car's space: x forward, y left, z up, the origin on the ground under its middle. Metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from engine_plugins.street.model import F64
from engine_plugins.street.shapes import Shape, box, joined, loft, quads, rod

AddPart = Callable[[str, Shape, str], None]  # material, shape, part: "body", "front" or "rear" axle


@dataclass(frozen=True, slots=True)
class CarModel:
    """Proportions of a car. hood, deck: bonnet's and boot's height; cabin: x of four corners."""

    name: str
    length: float
    width: float
    hood: float
    belt: float
    deck: float
    roof: float
    cabin: tuple[float, float, float, float]  # rear foot, rear top, front top, front foot
    wheel: float = 0.33

    @property
    def axles(self) -> tuple[float, float]:
        """The x of the front and the rear axle."""
        return self.length * 0.305, -self.length * 0.29


CAR_MODELS: tuple[CarModel, ...] = (
    CarModel("sedan", 4.6, 1.8, 0.80, 0.93, 0.95, 1.43, (-1.85, -1.05, 0.35, 1.05)),
    CarModel("hatchback", 3.95, 1.72, 0.84, 0.95, 0.98, 1.48, (-1.88, -1.5, 0.3, 1.0)),
    CarModel("estate", 4.6, 1.8, 0.82, 0.94, 0.98, 1.48, (-2.2, -1.8, 0.35, 1.05)),
    CarModel("suv", 4.5, 1.88, 1.0, 1.12, 1.14, 1.72, (-2.12, -1.75, 0.35, 0.98), 0.37),
    CarModel("van", 4.9, 1.92, 1.1, 1.2, 1.22, 1.98, (-2.4, -2.3, 1.05, 1.75), 0.34),
)


def build_car(model: CarModel, paint: str, add: AddPart) -> None:
    """Add the car's parts; the axles are separate parts in their own space (origin on the axle)."""
    for material, shape, part in _car_parts(model):
        add(paint if material == _PAINT else material, shape, part)


_PAINT = "paint"  # stands for the car's colour until a car gets one


@lru_cache(maxsize=16)
def _car_parts(model: CarModel) -> tuple[tuple[str, Shape, str], ...]:
    pieces: dict[tuple[str, str], list[Shape]] = {}

    def add(material: str, shape: Shape, part: str) -> None:
        pieces.setdefault((material, part), []).append(shape)

    add(_PAINT, _body(model), "body")
    _cabin(model, _PAINT, add)
    _trim(model, add)
    tyre, rim = _axle(model)
    for part in ("front", "rear"):
        add("tyre", tyre, part)
        add("rim", rim, part)
    return tuple((m, joined(*shapes), part) for (m, part), shapes in pieces.items())


def _profile(model: CarModel, x: float) -> tuple[float, float, float]:
    """(half width, underside, top) of the body at x."""
    half = model.length / 2
    nose = np.clip((half - x) / 0.5, 0, 1)
    tail = np.clip((half + x) / 0.42, 0, 1)
    front_w, rear_w = np.sin(nose * np.pi / 2) ** 0.5, np.sin(tail * np.pi / 2) ** 0.5
    width = model.width / 2 * (0.8 + 0.2 * front_w) * (0.86 + 0.14 * rear_w)
    rear_foot, front_foot = model.cabin[0], model.cabin[3]
    s = float(np.clip((front_foot - x) / 0.25, 0, 1))
    top = model.hood + (model.belt - model.hood) * s
    if x > front_foot:
        top = model.hood - 0.16 * ((x - front_foot) / (half - front_foot)) ** 2
    if x < rear_foot:
        top = model.deck - 0.1 * ((rear_foot - x) / max(half + rear_foot, 0.2)) ** 2
    top -= 0.10 * (1 - nose) ** 2 + 0.06 * (1 - tail) ** 2
    under = 0.22 + 0.14 * (1 - nose) ** 2 + 0.14 * (1 - tail) ** 2
    for axle in model.axles:
        reach = model.wheel + 0.07
        if abs(x - axle) < reach:
            under = max(under, model.wheel + float(np.sqrt(reach**2 - (x - axle) ** 2)) * 0.98)
    return float(width), float(under), float(top)


def _stations(model: CarModel) -> F64:
    half = model.length / 2
    base = np.concatenate([
        -half + np.array([0, 0.04, 0.12, 0.25, 0.42]),
        np.linspace(-half + 0.7, half - 0.8, 9),
        half - np.array([0.5, 0.3, 0.14, 0.05, 0]),
    ])  # fmt: skip
    reach = model.wheel + 0.07
    arcs = [
        a + reach * s
        for a in model.axles
        for s in (-1.0, -0.99, -0.85, -0.5, 0, 0.5, 0.85, 0.99, 1.0)
    ]
    x = np.sort(np.concatenate([base, arcs]))
    keep = np.concatenate([[True], np.diff(x) > 0.012])
    return np.asarray(x[keep])


def _body(model: CarModel) -> Shape:
    rings = []
    for x in _stations(model):
        w, low, top = _profile(model, float(x))
        mid = low + 0.55 * (top - low)
        half_ring = [
            (w * 0.93, low),
            (w * 0.985, low + 0.2 * (top - low)),
            (w, mid),
            (w * 0.975, top - 0.09),
            (w * 0.9, top - 0.015),
            (w * 0.55, top + 0.012),
        ]
        ring = [(x, y, z) for y, z in half_ring]
        rings.append(ring + [(x, -y, z) for _, y, z in ring[::-1]])
    # rings run counter-clockwise as seen from the front, +x
    return loft(rings, 2.0)


def _panel(corners: ArrayLike, inset: tuple[float, float, float, float]) -> tuple[Shape, Shape]:
    """A flat quad split into a surround and the pane inside it; inset: left, right, bottom, top."""
    p = np.asarray(corners, dtype=np.float64)
    left, right, bottom, top = inset

    def at(u: float, v: float) -> F64:
        low, high = p[0] + (p[1] - p[0]) * u, p[3] + (p[2] - p[3]) * u
        return np.asarray(low + (high - low) * v)

    inner = [at(left, bottom), at(1 - right, bottom), at(1 - right, 1 - top), at(left, 1 - top)]
    rim = [[p[k], p[(k + 1) % 4], inner[(k + 1) % 4], inner[k]] for k in range(4)]
    return quads(rim, 2.0), quads([inner], uvs=[[0, 0], [1, 0], [1, 1], [0, 1]])


def _cabin(model: CarModel, paint: str, add: AddPart) -> None:
    rear_foot, rear_top, front_top, front_foot = model.cabin
    w0, w1 = model.width / 2 * 0.92, model.width / 2 * 0.76
    z0, z1 = model.belt - 0.03, model.roof - 0.06
    z_front, z_rear = model.hood - 0.02, model.deck - 0.04
    foot = {"fl": (front_foot, w0, z_front), "fr": (front_foot, -w0, z_front),
            "rl": (rear_foot, w0, z_rear), "rr": (rear_foot, -w0, z_rear)}  # fmt: skip
    head = {"fl": (front_top, w1, z1), "fr": (front_top, -w1, z1),
            "rl": (rear_top, w1, z1), "rr": (rear_top, -w1, z1)}  # fmt: skip
    faces = [
        ([foot["fr"], foot["fl"], head["fl"], head["fr"]], (0.05, 0.05, 0.08, 0.08)),
        ([foot["rl"], foot["rr"], head["rr"], head["rl"]], (0.09, 0.09, 0.22, 0.12)),
    ]
    split_low, split_top = 0.5 * (rear_foot + front_foot) - 0.1, 0.5 * (rear_top + front_top) - 0.1
    for side, (front, rear) in ((1, ("fl", "rl")), (-1, ("fr", "rr"))):
        low = (split_low, side * w0, z0)
        high = (split_top, side * w1, z1)
        fore = [low, foot[front], head[front], high]
        aft = [foot[rear], low, high, head[rear]]
        for quad in (fore, aft):
            ordered = quad if side < 0 else [quad[1], quad[0], quad[3], quad[2]]
            faces.append((ordered, (0.06, 0.06, 0.12, 0.1)))
    for corners, inset in faces:
        surround, glass = _panel(corners, inset)
        add(paint, surround, "body")
        add("glass_car", glass, "body")
    crown = model.roof
    middle = 0.5 * (rear_top + front_top)
    lip = 0.006  # the roof overlaps the sides' upper edges, so that no light comes through
    rings = []
    for x, rise in (
        (rear_top - lip, 0.0),
        (rear_top + 0.15, 0.65),
        (middle, 1.0),
        (front_top - 0.2, 0.7),
        (front_top + lip, 0.0),
    ):
        top = (crown - z1) * rise
        half_ring = [(w1 + lip, z1 - lip), (w1 * 0.9, z1 + 0.7 * top), (0.0, z1 + top)]
        left = [(x, y, z if rise else z - lip) for y, z in half_ring]
        rings.append(left + [(x, -y, z) for _, y, z in left[1::-1]])
    add(paint, loft(rings, 2.0, closed=False), "body")


def _trim(model: CarModel, add: AddPart) -> None:
    half = model.length / 2
    w, _, _ = _profile(model, half - 0.05)
    lamp_z = model.hood - 0.33
    front = half - 0.075
    lamps = [
        box(
            [half - 0.3, s * w * 0.76 - 0.16, lamp_z - 0.06],
            [half + 0.004, s * w * 0.76 + 0.16, lamp_z + 0.06],
            omit="-x",
        )
        for s in (1, -1)
    ]
    add("lamp_front", joined(*lamps), "body")
    rear = -half + 0.06
    tail_z = model.deck - 0.25
    wr, _, _ = _profile(model, -half + 0.05)
    tails = [
        box(
            [-half - 0.004, s * wr * 0.84 - 0.11, tail_z - 0.12],
            [-half + 0.2, s * wr * 0.84 + 0.11, tail_z + 0.08],
            omit="+x",
        )
        for s in (1, -1)
    ]
    add("lamp_rear", joined(*tails), "body")
    add(
        "plastic",
        joined(
            box(
                [front - 0.1, -w * 0.55, lamp_z - 0.1],
                [front + 0.088, w * 0.55, lamp_z + 0.02],
                omit="-x",
            ),
            box([half - 0.2, -w * 0.96, 0.27], [half + 0.03, w * 0.96, 0.4]),
            box([-half - 0.03, -wr * 0.96, 0.3], [-half + 0.2, wr * 0.96, 0.42]),
            box([-half + 0.2, -w * 0.85, 0.2], [half - 0.2, w * 0.85, 0.5], omit="+z"),
        ),
        "body",
    )
    add("plate", joined(
        box([half + 0.03, -0.26, 0.3], [half + 0.04, 0.26, 0.41], omit="-x"),
        box([rear - 0.075, -0.26, tail_z - 0.14], [rear - 0.06, 0.26, tail_z - 0.03], omit="+x"),
    ), "body")  # fmt: skip
    x = model.cabin[3] - 0.28
    y = model.width / 2 * 0.95
    mirrors = [box([x - 0.08, min(s * y, s * (y + 0.2)), model.belt - 0.02],
                   [x + 0.08, max(s * y, s * (y + 0.2)), model.belt + 0.13])
               for s in (1, -1)]  # fmt: skip
    handles = [box([hx, s * model.width / 2 * 0.955 - 0.03, model.belt - 0.17],
                   [hx + 0.16, s * model.width / 2 * 0.955 + 0.03, model.belt - 0.135])
               for s in (1, -1) for hx in (-0.45, -1.3)]  # fmt: skip
    add("plastic", joined(*mirrors, *handles), "body")


def _axle(model: CarModel) -> tuple[Shape, Shape]:
    outer, r = model.width / 2 * 0.965, model.wheel
    tyres, rims = [], []
    for s in (1, -1):
        y0, y1 = sorted((s * (outer - 0.21), s * outer))
        tyres.append(rod([0, y0, 0], [0, y1, 0], r, points=16))
        face = s * (outer + 0.004)
        spokes = []
        for k in range(5):
            a = 2 * np.pi * k / 5
            out = np.array([np.cos(a), 0, np.sin(a)])
            wide = np.array([-np.sin(a), 0, np.cos(a)])
            c = np.array([0, face, 0])
            corners = [c + out * 0.05 - wide * 0.05, c + out * r * 0.62 - wide * 0.075,
                       c + out * r * 0.62 + wide * 0.075, c + out * 0.05 + wide * 0.05]  # fmt: skip
            spokes.append(corners if s < 0 else corners[::-1])
        rims.append(quads(spokes))
        rims.append(rod([0, face - s * 0.02, 0], [0, face + s * 0.012, 0], 0.07, points=10))
    return joined(*tyres), joined(*rims)
