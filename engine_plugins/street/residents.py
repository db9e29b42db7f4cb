"""What drives, parks and walks on a street: cars and people with analytic poses."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from engine_plugins.street.materials import PAINTS
from engine_plugins.street.model import F64
from engine_plugins.street.paths import soft_stop
from engine_plugins.street.people import PARTS, Walker, build_person, draw_clothes, person_poses
from engine_plugins.street.shapes import Shape, rigid
from engine_plugins.street.site import END_X, KERB_M, START_X, Pose, Site
from engine_plugins.street.vehicles import CAR_MODELS, CarModel, build_car


def add_parked_cars(site: Site) -> None:
    """Cars along both kerbs, with gaps."""
    rng = site.stream(20)
    filled = rng.uniform(0.35, 0.8)
    for side in (1, -1):
        x = START_X + 20
        while x < END_X - 35:
            model = CAR_MODELS[int(rng.choice(len(CAR_MODELS), p=[0.28, 0.3, 0.16, 0.18, 0.08]))]
            x += model.length / 2 + 0.5
            if rng.random() < filled:
                heading = (0.0 if side < 0 else np.pi) + float(rng.normal(0, 0.012))
                y = side * (site.layout.parking_y + float(rng.uniform(-0.05, 0.1)))
                _static_car(site, model, str(rng.choice(PAINTS)), rigid(x, y, 0, heading))
            x += model.length / 2 + float(rng.uniform(0.4, 1.6))


def _static_car(site: Site, model: CarModel, paint: str, at: F64) -> None:
    who = site.instance(f"parked {model.name}", "vehicle")
    spots = {"body": at, **{n: at @ m for n, m in _axle_places(model).items()}}

    def add(material: str, shape: Shape, part: str) -> None:
        site.builder.add(material, shape.moved(spots[part]), who)

    build_car(model, paint, add)


def add_traffic(site: Site) -> None:
    """Moving cars: one ahead in the camera's lane, some that come towards it."""
    rng = site.stream(21)
    ahead = float(rng.uniform(16, 34))
    lane = site.layout.lane_y
    plans = [(ahead, -lane, 0.0, float(rng.uniform(11.5, 13)), END_X - 25 - ahead)]
    for k in range(int(rng.integers(2, 5))):
        x = 35 + 38 * k + float(rng.uniform(0, 22))
        plans.append((x, lane, np.pi, float(rng.uniform(7, 11)), x - START_X + 150))
    for x, y, heading, speed, limit in plans:
        model = CAR_MODELS[int(rng.integers(len(CAR_MODELS)))]
        _moving_car(site, model, str(rng.choice(PAINTS)), (x, y), heading, speed, limit)


def _moving_car(
    site: Site,
    model: CarModel,
    paint: str,
    start: tuple[float, float],
    heading: float,
    speed: float,
    limit: float,
) -> None:
    who = site.instance(f"moving {model.name}", "vehicle")
    first = len(site.poses)
    places = _axle_places(model)
    slots = {"body": first, "front": first + 1, "rear": first + 2}

    def body(t_s: float) -> F64:
        gone = soft_stop(speed * t_s, limit)
        return rigid(
            start[0] + gone * np.cos(heading), start[1] + gone * np.sin(heading), 0, heading
        )

    def axle(part: str) -> Pose:
        def pose(t_s: float) -> F64:
            angle = soft_stop(speed * t_s, limit) / model.wheel
            c, s = np.cos(angle), np.sin(angle)
            roll = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
            return np.asarray(body(t_s) @ places[part] @ roll)

        return pose

    site.poses += [body, axle("front"), axle("rear")]

    def add(material: str, shape: Shape, part: str) -> None:
        site.builder.add(material, shape, who, slots[part])

    build_car(model, paint, add)


def add_people(site: Site) -> None:
    """Six to fifteen people on the pavements: most walk, some stand at the houses."""
    rng = site.stream(22)
    lay = site.layout
    for _ in range(int(rng.integers(6, 16))):
        side = 1 if rng.random() < 0.5 else -1
        width = lay.pavement[0 if side > 0 else 1]
        stands = rng.random() < 0.15
        forward = rng.random() < 0.5
        inner = float(rng.uniform(1.15, max(1.3, width - 0.75)))
        if side < 0 and site.path == "walk" and abs(inner - width / 2 - 0.15) < 0.65:
            inner = 1.05 if forward else width - 0.45  # leave the camera's line free
        y = side * (lay.half_road + (width - 0.5 if stands else inner))
        heading = 0.0 if forward else np.pi
        if stands:
            heading = float(rng.uniform(0, 2 * np.pi))
        x = float(rng.uniform(3, 62)) if rng.random() < 0.8 else float(rng.uniform(-30, 110))
        clothes = draw_clothes(rng)
        who = Walker(
            start=(x, y),
            heading=heading,
            speed=0.0 if stands else float(rng.uniform(0.95, 1.6)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            ground_z=KERB_M,
            **clothes,  # type: ignore[arg-type]
        )
        _person(site, who)


def _person(site: Site, who: Walker) -> None:
    instance = site.instance("person", "person")
    first = len(site.poses)
    slots = {part: first + k for k, part in enumerate(PARTS)}

    poses = lru_cache(maxsize=4)(partial(person_poses, who))

    def pose_of(part: str) -> Pose:
        return lambda t_s: poses(t_s)[part].copy()

    site.poses += [pose_of(part) for part in PARTS]

    def add(material: str, shape: Shape, part: str) -> None:
        site.builder.add(material, shape, instance, slots[part])

    build_person(who, add)


def _axle_places(model: CarModel) -> dict[str, F64]:
    front, rear = model.axles
    return {"front": rigid(front, 0, model.wheel), "rear": rigid(rear, 0, model.wheel)}
