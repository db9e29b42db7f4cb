"""The street's palette: which surfaces there are and how they reflect. Base colours are linear."""

from __future__ import annotations

import numpy as np

from engine_plugins.street.model import Material

PAINTS: tuple[str, ...] = (
    "paint_silver", "paint_black", "paint_white_car", "paint_red", "paint_blue", "paint_grey",
    "paint_green", "paint_sand",
)  # fmt: skip

_PAINT_COLORS: dict[str, tuple[str, float]] = {
    "paint_silver": ("#a9adb0", 0.6),
    "paint_black": ("#1a1b1e", 0.0),
    "paint_white_car": ("#e2e2de", 0.0),
    "paint_red": ("#8e1f1c", 0.0),
    "paint_blue": ("#22406f", 0.2),
    "paint_grey": ("#55595e", 0.5),
    "paint_green": ("#2c4a3a", 0.1),
    "paint_sand": ("#a08f72", 0.3),
}

_PLAIN: tuple[
    tuple[str, str, str, float, float], ...
] = (  # name, semantic, sRGB, roughness, metallic
    ("paint_white", "ground", "#c9c8c2", 0.7, 0.0),
    ("kerb", "ground", "#9b9890", 0.85, 0.0),
    ("soil", "ground", "#4f4034", 0.95, 0.0),
    ("iron", "prop", "#2b2d2f", 0.5, 0.0),
    ("steel", "prop", "#8d9193", 0.35, 0.8),
    ("wood", "prop", "#7d5b3c", 0.65, 0.0),
    ("bag", "person", "#3a3430", 0.7, 0.0),
    ("shoe", "person", "#2a2420", 0.6, 0.0),
    ("lamp_glass", "prop", "#e4e0d2", 0.3, 0.0),
    ("bin_green", "prop", "#2f5a3c", 0.5, 0.0),
    ("sign_red", "prop", "#a8201c", 0.4, 0.0),
    ("sign_blue", "prop", "#1f4c94", 0.4, 0.0),
    ("sign_white", "prop", "#dcdcd8", 0.4, 0.0),
    ("frame_white", "wall", "#d8d6cf", 0.45, 0.0),
    ("frame_dark", "wall", "#35383b", 0.45, 0.0),
    ("frame_wood", "wall", "#6e4a30", 0.5, 0.0),
    ("trim_white", "wall", "#d4d0c6", 0.7, 0.0),
    ("roof_flat", "wall", "#5c5a57", 0.9, 0.0),
    ("plastic", "vehicle", "#202124", 0.55, 0.0),
    ("tyre", "vehicle", "#1c1c1d", 0.85, 0.0),
    ("rim", "vehicle", "#a3a6a8", 0.3, 0.85),
    ("plate", "vehicle", "#d9d7c6", 0.5, 0.0),
    ("lamp_front", "vehicle", "#dfe3e6", 0.12, 0.0),
    ("lamp_rear", "vehicle", "#85120f", 0.2, 0.0),
    ("shop_green", "wall", "#28493c", 0.45, 0.0),
    ("shop_red", "wall", "#6f2420", 0.45, 0.0),
    ("shop_navy", "wall", "#22304d", 0.45, 0.0),
    ("shop_cream", "wall", "#cfc5a8", 0.5, 0.0),
    ("shop_black", "wall", "#2a2928", 0.4, 0.0),
)

_CLOTHES = ("#31405c", "#7a2c2e", "#4b4f42", "#b9a98c", "#2b2b2e", "#5f7486", "#8d8a86", "#6b4a7a",
            "#26324a", "#2e2d2c", "#6e6350", "#49525c")  # fmt: skip
_SKINS = ("#e0b497", "#c68d6a", "#8d5a3c", "#593a28")
_HAIRS = ("#2a1e17", "#4d3524", "#8a6a42", "#8f8c88")
_FACADES = ("#e8dcc0", "#d9c3a0", "#c8cdc9", "#e6cfc0", "#b9c4c9", "#d8d3c5", "#c9a98a", "#e9e4d8",
            "#a8b29c", "#d7b9a6")  # fmt: skip


def linear(hex_srgb: str) -> tuple[float, float, float]:
    """Linear RGB of an sRGB colour such as "#7a2c2e"."""
    v = np.array([int(hex_srgb[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    low = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return float(low[0]), float(low[1]), float(low[2])


def wall_names(rng: np.random.Generator) -> list[str]:
    """The facade materials of one street."""
    names = ["brick_a", "brick_b", "plaster_0", "plaster_1", "plaster_2", "plaster_3", "panel_a"]
    return [str(n) for n in rng.choice(names, 5, replace=False)]


def foliage_names(rng: np.random.Generator) -> list[str]:
    """The street's two kinds of foliage."""
    return [str(n) for n in rng.choice(["foliage_0", "foliage_1", "foliage_2"], 2, replace=False)]


def street_materials(rng: np.random.Generator) -> dict[str, Material]:
    """Every material of one street by name; a street's palette varies with the stream."""
    table = [Material(n, s, linear(c), roughness=r, metallic=m) for n, s, c, r, m in _PLAIN]
    table += [
        Material(n, "vehicle", _varied(rng, c, 0.08), roughness=0.28, metallic=m, clearcoat=1.0)
        for n, (c, m) in _PAINT_COLORS.items()
    ]
    table += [
        Material(f"cloth_{k}", "person", _varied(rng, c, 0.2), "cloth", roughness=0.9, specular=0.2)
        for k, c in enumerate(_CLOTHES)
    ]
    table += [
        Material(f"skin_{k}", "person", linear(c), roughness=0.55) for k, c in enumerate(_SKINS)
    ]
    table += [
        Material(f"hair_{k}", "person", linear(c), roughness=0.7) for k, c in enumerate(_HAIRS)
    ]
    plasters = rng.choice(_FACADES, 4, replace=False)
    table += [
        Material(f"plaster_{k}", "wall", _varied(rng, str(c), 0.06), "plaster", roughness=0.9)
        for k, c in enumerate(plasters)
    ]
    table += _textured(rng)
    table += _glass()
    return {m.name: m for m in table}


def _textured(rng: np.random.Generator) -> list[Material]:
    white = (1.0, 1.0, 1.0)
    leaf = [(0.62, 0.74, 0.46), (0.84, 0.86, 0.5), (0.5, 0.62, 0.44)]
    rows = [
        Material("asphalt", "ground", white, "asphalt", roughness=0.88),
        Material("slabs", "ground", white, "slabs", roughness=0.85),
        Material("grass", "ground", white, "grass", roughness=0.95),
        Material("brick_a", "wall", white, "brick_a", roughness=0.9),
        Material("brick_b", "wall", white, "brick_b", roughness=0.9),
        Material("panel_a", "wall", _varied(rng, "#e4e0d8", 0.08), "panel", roughness=0.85),
        Material("plaster_dark", "wall", _varied(rng, "#9a948c", 0.15), "plaster", roughness=0.9),
        Material("stone", "wall", _varied(rng, "#c4bdb0", 0.08), "plaster", roughness=0.85),
        Material("roof_slate", "wall", linear("#7c8288"), "roof", roughness=0.7),
        Material("roof_tile", "wall", linear("#c4704e"), "roof", roughness=0.8),
        Material(
            "shutter",
            "wall",
            _varied(rng, str(rng.choice(["#3f5a4c", "#46586b", "#6d4b3a"])), 0.1),
            roughness=0.6,
        ),
        Material(
            "door",
            "wall",
            _varied(rng, str(rng.choice(["#23402f", "#5a1f1d", "#1f2f4a", "#4a3322"])), 0.1),
            roughness=0.4,
        ),
        Material("bark", "foliage", white, "bark", roughness=0.95),
        Material("signs", "wall", white, "signs", roughness=0.5),
        Material("awning_a", "prop", white, "awning_a", roughness=0.85, two_sided=True),
        Material("awning_b", "prop", white, "awning_b", roughness=0.85, two_sided=True),
        Material(
            "flower",
            "foliage",
            _varied(rng, str(rng.choice(["#b02a3a", "#d0a020", "#b65aa0"])), 0.1),
            roughness=0.8,
            two_sided=True,
        ),
    ]
    rows += [
        Material(f"foliage_{k}", "foliage", c, "leaves", roughness=0.75, two_sided=True)
        for k, c in enumerate(leaf)
    ]
    rows += [
        Material(f"backdrop_{k}", "wall", _varied(rng, c, 0.1), "backdrop", roughness=0.9)
        for k, c in enumerate(("#d8cdb8", "#c2b4a4", "#b8bfc4"))
    ]
    return rows


def _glass() -> list[Material]:
    def pane(name: str, color: tuple[float, float, float], texture: str | None) -> Material:
        return Material(name, "glass", color, texture, roughness=0.03, specular=0.9)

    white = (1.0, 1.0, 1.0)
    return [
        pane("glass_dark", linear("#1c2022"), None),
        pane("glass_curtain", white, "curtain"),
        pane("glass_blinds", white, "blinds"),
        pane("glass_shop_a", white, "interior_a"),
        pane("glass_shop_b", white, "interior_b"),
        pane("glass_car", linear("#15181a"), None),
    ]


def _varied(rng: np.random.Generator, hex_srgb: str, amount: float) -> tuple[float, float, float]:
    """The linear colour, its brightness and tint varied by about `amount`."""
    base = (
        np.array(linear(hex_srgb))
        * (1 + rng.normal(0, amount))
        * (1 + rng.normal(0, amount / 4, 3))
    )
    low = np.clip(base, 0.005, 0.92)
    return float(low[0]), float(low[1]), float(low[2])
