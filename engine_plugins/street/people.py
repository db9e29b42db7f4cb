"""Walking people built of rigid parts, with an analytic gait: every pose is a formula of time.

A person's space: x forward, y left, z up, the origin on the ground. Each part has its own space
with the origin in its joint. Metres and radians; a positive leg angle swings forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine_plugins.street.model import F64
from engine_plugins.street.shapes import Shape, box, ellipsoid, joined, rigid, tube

AddPart = Callable[[str, Shape, str], None]

PARTS: tuple[str, ...] = (
    "torso", "head", "arm_l", "arm_r", "fore_l", "fore_r", "thigh_l", "thigh_r", "shin_l", "shin_r",
)  # fmt: skip

THIGH, SHIN, ANKLE, HIP_Y = 0.43, 0.42, 0.08, 0.095
SHOULDER_Z, SHOULDER_Y, UPPER_ARM, NECK_Z = 0.47, 0.195, 0.29, 0.53


@dataclass(frozen=True, slots=True)
class Walker:
    """One person. start: world (x, y); heading: yaw; speed: m/s, 0 for someone who stands."""

    start: tuple[float, float]
    heading: float
    speed: float
    phase: float
    scale: float
    ground_z: float
    coat: str
    trousers: str
    skin: str
    hair: str
    long_coat: bool
    bag: bool
    stocky: float


def draw_clothes(rng: np.random.Generator) -> dict[str, str | bool | float]:
    """Random looks for a Walker."""
    return {
        "coat": f"cloth_{int(rng.integers(8))}",
        "trousers": f"cloth_{int(rng.choice([8, 9, 10, 11]))}",
        "skin": f"skin_{int(rng.integers(4))}",
        "hair": f"hair_{int(rng.integers(4))}",
        "long_coat": bool(rng.random() < 0.35),
        "bag": bool(rng.random() < 0.4),
        "stocky": float(rng.uniform(0.92, 1.14)),
        "scale": float(rng.uniform(0.92, 1.06)),
    }


def build_person(who: Walker, add: AddPart) -> None:
    """Add the shapes of all PARTS in their joints' spaces."""
    k = who.stocky
    add = _scaled(add, who.scale)
    torso = [(0, 0, -0.06, 0.115 * k, 0.15 * k), (0, 0, 0.02, 0.122 * k, 0.165 * k),
             (0, 0, 0.18, 0.108 * k, 0.145 * k), (0.005, 0, 0.34, 0.125 * k, 0.172 * k),
             (0, 0, 0.44, 0.11 * k, 0.178 * k), (-0.005, 0, 0.5, 0.075, 0.11),
             (0, 0, 0.535, 0.055, 0.06)]  # fmt: skip
    add(who.coat, tube(torso, 12, 0.6), "torso")
    if who.long_coat:
        skirt = [(0, 0, -0.32, 0.155 * k, 0.205 * k), (0, 0, -0.05, 0.13 * k, 0.175 * k),
                 (0, 0, 0.12, 0.118 * k, 0.155 * k)]  # fmt: skip
        add(who.coat, tube(skirt, 12, 0.6), "torso")
    else:
        hips = [(0, 0, -0.12, 0.105 * k, 0.15 * k), (0, 0, -0.02, 0.118 * k, 0.162 * k)]
        add(who.trousers, tube(hips, 12, 0.6), "torso")
    if who.bag:
        add("bag", box([-0.3, -0.14, 0.1], [-0.11, 0.14, 0.46]), "torso")
    neck = tube([(0, 0, -0.03, 0.05, 0.05), (0.01, 0, 0.08, 0.046, 0.046)], 8)
    face = ellipsoid([0.018, 0, 0.165], [0.095, 0.075, 0.12], 12, 9)
    nose = ellipsoid([0.113, 0, 0.15], [0.02, 0.014, 0.024], 6, 5)
    add(who.skin, joined(neck, face, nose), "head")
    hair = joined(ellipsoid([-0.008, 0, 0.2], [0.1, 0.086, 0.1], 12, 7),
                  ellipsoid([-0.035, 0, 0.15], [0.075, 0.083, 0.11], 10, 6))  # fmt: skip
    add(who.hair, hair, "head")
    for side in ("l", "r"):
        arm = [(0, 0, -UPPER_ARM, 0.043, 0.043), (0, 0, -0.12, 0.054 * k, 0.054 * k),
               (0, 0, 0.0, 0.058 * k, 0.058 * k), (0, 0, 0.04, 0.035, 0.035)]  # fmt: skip
        add(who.coat, tube(arm, 9, 0.6), f"arm_{side}")
        fore = [(0, 0, -0.25, 0.033, 0.033), (0, 0, -0.1, 0.043, 0.043), (0, 0, 0.02, 0.044, 0.044)]
        add(who.coat, tube(fore, 9, 0.6), f"fore_{side}")
        hand = ellipsoid([0.012, 0, -0.31], [0.034, 0.02, 0.075], 8, 6)
        add(who.skin, hand, f"fore_{side}")
        thigh = [
            (0, 0, -THIGH - 0.02, 0.056, 0.056),
            (0, 0, -THIGH * 0.55, 0.07 * k, 0.066 * k),
            (0, 0, -0.06, 0.088 * k, 0.082 * k),
            (0, 0, 0.05, 0.075 * k, 0.07 * k),
        ]
        add(who.trousers, tube(thigh, 10, 0.6), f"thigh_{side}")
        shin = [(0, 0, -SHIN - 0.02, 0.05, 0.05), (-0.008, 0, -SHIN * 0.4, 0.055, 0.054),
                (0, 0, 0.02, 0.055, 0.055)]  # fmt: skip
        add(who.trousers, tube(shin, 10, 0.6), f"shin_{side}")
        shoe = [(0.04, 0, -SHIN - ANKLE, 0.135, 0.047), (0.038, 0, -SHIN - 0.035, 0.13, 0.046),
                (0.0, 0, -SHIN + 0.03, 0.06, 0.045)]  # fmt: skip
        add("shoe", tube(shoe, 10), f"shin_{side}")


def _scaled(add: AddPart, scale: float) -> AddPart:
    def add_scaled(material: str, shape: Shape, part: str) -> None:
        add(material, Shape(shape.vertices * scale, shape.normals, shape.uvs, shape.faces), part)

    return add_scaled


def _swing(angle: float) -> F64:
    """A (4, 4) turn about y that moves what hangs down (-z) forward (+x) by `angle`."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]], dtype=np.float64)


def _hang(parent: F64, x: float, y: float, z: float, angle: float) -> F64:
    return np.asarray(parent @ rigid(x, y, z) @ _swing(angle))


def _legs(cycle: float, stride: float) -> tuple[float, float, float, float]:
    """Angles of left thigh, left knee, right thigh, right knee at a phase of the gait."""
    angles = []
    for phase in (cycle, cycle + np.pi):
        thigh = stride * (0.47 * np.sin(phase) + 0.06)
        knee = stride * (0.12 + 0.95 * max(0.0, np.cos(phase)) ** 2 * 0.9)
        angles += [thigh, knee]
    return angles[0], angles[1], angles[2], angles[3]


def person_poses(who: Walker, t_s: float) -> dict[str, F64]:
    """World pose, rigid (4, 4), of every part at time t_s."""
    walked = who.speed * t_s
    stride = min(1.0, who.speed / 1.35)
    step_m = max(0.3, 1.42 * who.scale * (0.55 + 0.45 * stride))
    cycle = who.phase + 2 * np.pi * walked / step_m
    left_thigh, left_knee, right_thigh, right_knee = _legs(cycle, stride)
    reach = [THIGH * np.cos(a) + SHIN * np.cos(a - k)
             for a, k in ((left_thigh, left_knee), (right_thigh, right_knee))]  # fmt: skip
    sharp = 40.0
    hip_z = (
        ANKLE + float(np.log(np.exp(sharp * reach[0]) + np.exp(sharp * reach[1])) / sharp) - 0.012
    )
    idle = 0.0 if who.speed > 0 else 0.03 * np.sin(0.9 * t_s + who.phase)
    x = who.start[0] + walked * np.cos(who.heading)
    y = who.start[1] + walked * np.sin(who.heading)
    root = rigid(x, y, who.ground_z, who.heading + idle)
    root[:3, :3] *= who.scale
    twist = 0.09 * stride * np.sin(cycle)
    torso = root @ rigid(0, 0, hip_z, -twist) @ _swing(-0.03 - 0.02 * stride)
    head = torso @ rigid(0, 0, NECK_Z, 0.5 * twist + 2.5 * idle)
    poses = {"torso": torso, "head": head}
    for side, sign, swing in (("l", 1, -np.sin(cycle)), ("r", -1, np.sin(cycle))):
        arm = _hang(
            torso,
            0,
            sign * SHOULDER_Y * who.stocky,
            SHOULDER_Z - 0.03,
            0.42 * stride * swing + 0.02,
        )
        poses[f"arm_{side}"] = arm
        poses[f"fore_{side}"] = _hang(arm, 0, 0, -UPPER_ARM, 0.25 + 0.2 * stride * (1 + swing))
    for side, sign, a, k in (("l", 1, left_thigh, left_knee), ("r", -1, right_thigh, right_knee)):
        thigh = _hang(root, 0, sign * HIP_Y, hip_z, a)
        poses[f"thigh_{side}"] = thigh
        poses[f"shin_{side}"] = _hang(thigh, 0, 0, -THIGH, -k)
    for pose in poses.values():  # the size is in the shapes, so that poses stay rigid
        pose[:3, :3] /= who.scale
    return poses
