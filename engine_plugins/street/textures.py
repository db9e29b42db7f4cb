"""Procedural tiled sRGB textures of a street: asphalt, slabs, brick, plaster, leaves, signs, …

Every function draws from the generator it is given, so a seed gives the same pixels. `TILE_M` says
how many metres one repeat covers. Pure numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine_plugins.street.font import draw_word
from engine_plugins.street.model import F64, Texture

#: Metres per repeat of each texture, for builders that lay UVs by length.
TILE_M: dict[str, float] = {
    "asphalt": 5.0,
    "slabs": 4.0,
    "brick": 2.4,
    "plaster": 4.5,
    "panel": 4.8,
    "roof": 2.4,
    "leaves": 1.6,
    "bark": 1.2,
    "grass": 3.0,
    "cloth": 0.6,
}

Pixels = NDArray[np.uint8]


def noise(rng: np.random.Generator, size: int, beta: float) -> F64:
    """Tiling noise (size, size), zero mean, unit deviation, amplitude spectrum 1 / f**beta."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32)) / f**beta
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(field / field.std(), dtype=np.float64)


def _pixels(color: ArrayLike, shade: F64) -> Pixels:
    return np.clip(np.asarray(color) * shade[..., None], 0, 255).astype(np.uint8)


def asphalt(rng: np.random.Generator) -> Pixels:
    """Grey asphalt with aggregate, repair patches, tar seams and stains."""
    size = 512
    shade = 1 + 0.05 * noise(rng, size, 1.4) + 0.085 * rng.standard_normal((size, size))
    for _ in range(int(rng.integers(2, 5))):
        y, x = rng.integers(0, size - 170, 2)
        h, w = rng.integers(50, 165, 2)
        shade[y : y + h, x : x + w] *= rng.uniform(0.8, 0.95)
        for edge in (slice(y, y + 3), slice(y + h - 3, y + h)):
            shade[edge, x : x + w] *= 0.72
        shade[y : y + h, x : x + 3] *= 0.72
        shade[y : y + h, x + w - 3 : x + w] *= 0.72
    crack = np.abs(noise(rng, size, 1.7)) < 0.012
    shade = np.where(crack, shade * 0.72, shade)
    shade *= 1 - 0.1 * np.clip(noise(rng, size, 2.0) - 1, 0, 1)
    return _pixels(rng.uniform(88, 112) * np.array([1.0, 0.99, 0.965]), shade)


def slabs(rng: np.random.Generator) -> Pixels:
    """Concrete paving slabs with dark joints; the slabs' size and bond vary."""
    size, rows = 512, int(rng.choice([5, 6, 8]))
    cols = int(rng.choice([4, 6, 8]))
    shift = 0.5 if rng.random() < 0.6 else 0.0
    y, x = np.mgrid[0:size, 0:size] / size
    row = np.floor(y * rows).astype(int)
    across = (x * cols + shift * (row % 2)) % cols
    tone = rng.normal(1, 0.06, (rows, cols))[row, np.floor(across).astype(int)]
    fx, fy = across % 1, (y * rows) % 1
    joint = (np.minimum(fx, 1 - fx) * size / cols < 1.6) | (
        np.minimum(fy, 1 - fy) * size / rows < 1.6
    )
    shade = tone + 0.035 * noise(rng, size, 1.2) + 0.03 * rng.standard_normal((size, size))
    shade *= 1 - 0.12 * np.clip(noise(rng, size, 1.8) - 0.9, 0, 1.2)
    shade = np.where(joint, shade * 0.66, shade)
    return _pixels(rng.uniform(146, 176) * np.array([1.0, 0.975, rng.uniform(0.9, 0.955)]), shade)


def brick(rng: np.random.Generator, color: ArrayLike) -> Pixels:
    """Bricks in running bond with mortar; color: mean sRGB of the bricks."""
    size, rows, cols = 512, 32, 10
    y, x = np.mgrid[0:size, 0:size] / size
    row = np.floor(y * rows).astype(int)
    across = (x * cols + 0.5 * (row % 2)) % cols
    col = np.floor(across).astype(int)
    tone = rng.normal(1, 0.13, (rows, cols))[row, col]
    hue = rng.normal(0, 0.05, (rows, cols))[row, col]
    fx, fy = across % 1, (y * rows) % 1
    mortar = (np.minimum(fx, 1 - fx) * size / cols < 1.3) | (
        np.minimum(fy, 1 - fy) * size / rows < 1.2
    )
    shade = tone * (1 + 0.05 * rng.standard_normal((size, size)) + 0.04 * noise(rng, size, 1.2))
    rgb = np.asarray(color) * shade[..., None] * np.stack([1 + hue, np.ones_like(hue), 1 - hue], -1)
    grout = np.array([176, 168, 154]) * (1 + 0.06 * rng.standard_normal((size, size)))[..., None]
    return np.clip(np.where(mortar[..., None], grout, rgb), 0, 255).astype(np.uint8)


def plaster(rng: np.random.Generator) -> Pixels:
    """Near-white rendered wall with cloudy stains and streaks, to be tinted by a base colour."""
    size = 512
    streak = noise(rng, size, 1.0).mean(0, keepdims=True) * 2.0 + 0 * np.zeros((size, 1))
    shade = 1 - 0.045 * np.clip(noise(rng, size, 1.8), -1, 2) - 0.03 * np.clip(streak, 0, 1)
    shade += 0.022 * rng.standard_normal((size, size)) + 0.02 * noise(rng, size, 0.7)
    return _pixels([236, 232, 224], np.clip(shade, 0.5, 1.06))


def panel(rng: np.random.Generator) -> Pixels:
    """Precast concrete panels with joints and rain marks."""
    size, count = 512, int(rng.choice([2, 3, 4]))
    y, x = np.mgrid[0:size, 0:size] / size
    cell = (np.floor(y * count).astype(int), np.floor(x * 2).astype(int))
    tone = rng.normal(1, 0.035, (count, 2))[cell]
    fx, fy = (x * 2) % 1, (y * count) % 1
    joint = (np.minimum(fx, 1 - fx) * size / 2 < 2) | (np.minimum(fy, 1 - fy) * size / count < 2)
    rain = 0.08 * np.clip(noise(rng, size, 0.9).mean(0, keepdims=True) * 6, 0, 1) * fy
    shade = tone - rain + 0.03 * noise(rng, size, 1.5) + 0.03 * rng.standard_normal((size, size))
    return _pixels([214, 210, 203], np.where(joint, shade * 0.6, shade))


def roof(rng: np.random.Generator) -> Pixels:
    """Rows of tiles or slates, to be tinted by a base colour."""
    size, rows, cols = 256, 10, 8
    y, x = np.mgrid[0:size, 0:size] / size
    row = np.floor(y * rows).astype(int)
    across = (x * cols + 0.5 * (row % 2)) % cols
    tone = rng.normal(1, 0.1, (rows, cols))[row, np.floor(across).astype(int)]
    fy = (y * rows) % 1
    shade = tone * (0.72 + 0.33 * np.sqrt(1 - fy)) * (1 - 0.3 * (np.abs(across % 1 - 0.5) > 0.46))
    return _pixels([205, 198, 190], shade + 0.04 * rng.standard_normal((size, size)))


def leaves(rng: np.random.Generator) -> Pixels:
    """A dense speckle of lit and shaded leaves, to be tinted by a base colour."""
    size = 256
    image = np.full((size, size, 3), [50, 60, 31], dtype=np.float64)
    yy, xx = np.mgrid[-7:8, -7:8]
    for k in range(1500):
        cy, cx = rng.integers(0, size, 2)
        angle, length = rng.uniform(0, np.pi), rng.uniform(3.5, 7)
        u = xx * np.cos(angle) + yy * np.sin(angle)
        v = yy * np.cos(angle) - xx * np.sin(angle)
        inside = (u / length) ** 2 + (v / (0.48 * length)) ** 2 < 1
        tone = (0.55 + 0.6 * k / 1500) * rng.uniform(0.75, 1.2)
        rows, cols = (cy + yy[inside]) % size, (cx + xx[inside]) % size
        image[rows, cols] = np.array([106, 124, 62]) * tone * rng.uniform(0.92, 1.08, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def bark(rng: np.random.Generator) -> Pixels:
    """Vertically furrowed bark."""
    size = 256
    furrow = noise(rng, size, 0.9)
    furrow = np.sum([np.roll(furrow, k, axis=0) for k in range(-14, 15, 2)], axis=0) / 15
    shade = 1 + 0.32 * furrow / furrow.std() + 0.08 * rng.standard_normal((size, size))
    return _pixels([106, 92, 76], np.clip(shade, 0.35, 1.6))


def grass(rng: np.random.Generator) -> Pixels:
    """Mown grass with worn places."""
    size = 256
    shade = 1 + 0.16 * rng.standard_normal((size, size)) + 0.1 * noise(rng, size, 1.0)
    image = np.array([104, 118, 62]) * shade[..., None]
    worn = np.clip(noise(rng, size, 1.6) - 0.8, 0, 1)[..., None]
    mixed = image * (1 - worn) + worn * np.array([134, 118, 88]) * shade[..., None]
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def cloth(rng: np.random.Generator) -> Pixels:
    """Soft folds in light fabric, to be tinted by a base colour."""
    size = 128
    shade = 0.93 + 0.06 * noise(rng, size, 1.6) + 0.03 * rng.standard_normal((size, size))
    return _pixels([238, 238, 238], np.clip(shade, 0.6, 1.07))


def curtain(rng: np.random.Generator) -> Pixels:
    """A window seen from the street in daylight: drapes at the sides, a dark room between."""
    size = 256
    x = np.linspace(0, 1, size)
    folds = 0.8 + 0.2 * np.sin(x * rng.uniform(70, 110) + 2 * np.sin(x * 9))
    drape = (x < rng.uniform(0.2, 0.34)) | (x > rng.uniform(0.66, 0.8))
    room = np.array([26, 25, 24]) * np.ones((size, size, 1))
    room += np.clip(noise(rng, size, 1.6), -1, 2)[..., None] * 6
    cloth_rgb = np.array([158, 150, 138]) * folds[None, :, None] * np.ones((size, 1, 1))
    image = np.where(drape[None, :, None], cloth_rgb, room)
    image[: int(size * rng.uniform(0.04, 0.12))] = [148, 142, 132]
    return np.clip(image[::-1], 0, 255).astype(np.uint8)


def blinds(rng: np.random.Generator) -> Pixels:
    """A window with slatted blinds let down part of the way."""
    size = 256
    y = np.arange(size)
    down = y < size * rng.uniform(0.45, 0.85)
    slat = np.where((y % 12) < 9, 1.0, 0.62)
    column = np.where(down[:, None], (slat * 168)[:, None] * [1, 0.985, 0.94], [[27, 27, 28]])
    return np.asarray(np.clip(np.repeat(column[::-1, None], size, 1), 0, 255), np.uint8)


def shop_interior(rng: np.random.Generator) -> Pixels:
    """A shop through its window: dim room, shelves of goods, a few warm lights."""
    size = 512
    image = np.ones((size, size, 3)) * np.linspace(34, 62, size)[:, None, None] * [1.05, 1, 0.92]
    for shelf in range(int(rng.integers(3, 6))):
        y = 150 + shelf * 68
        x = int(rng.integers(0, 20))
        while x < size - 8 and y < size - 8:
            w, h = int(rng.integers(10, 38)), int(rng.integers(20, 52))
            hue = rng.uniform(30, 132, 3) * rng.uniform(0.5, 1.0)
            image[max(y - h, 0) : y, x : x + w] = hue
            x += w + int(rng.integers(1, 12))
        image[y : y + 5] = [74, 62, 48]
    for _ in range(int(rng.integers(3, 7))):
        cy, cx = int(rng.integers(22, 80)), int(rng.integers(20, size - 50))
        image[cy : cy + 5, cx : cx + 32] = [235, 218, 180]
    return np.clip(image[::-1], 0, 255).astype(np.uint8)


def backdrop(rng: np.random.Generator) -> Pixels:
    """A distant facade with its windows painted in, 12 m to a repeat."""
    size, count = 256, 4
    y, x = np.mgrid[0:size, 0:size] / size
    fx, fy = (x * count) % 1, (y * count) % 1
    pane = (np.abs(fx - 0.5) < 0.24) & (np.abs(fy - 0.5) < 0.29)
    tone = rng.uniform(0.25, 0.5, (count, count))[(y * count).astype(int), (x * count).astype(int)]
    shade = np.where(pane, tone, 1 + 0.04 * noise(rng, size, 1.2))
    return _pixels([212, 205, 194], shade)


SIGN_WORDS = ("CAFE", "BAKERY", "BOOKS", "FLORIST", "PHARMACY", "BARBER", "HOTEL", "DINER",
              "OPTICS", "TAILOR", "MARKET", "SHOES")  # fmt: skip
SIGN_ROWS = 8


def signs(rng: np.random.Generator) -> Pixels:
    """An atlas of SIGN_ROWS shop signs, each a band of 512x64 pixels, the first at v = 0."""
    image = np.zeros((64 * SIGN_ROWS, 512, 3), dtype=np.float64)
    words = rng.choice(SIGN_WORDS, SIGN_ROWS, replace=False)
    grounds = np.array([[38, 66, 52], [120, 34, 32], [30, 44, 76], [226, 218, 196], [44, 42, 40],
                        [150, 104, 42], [70, 46, 60], [214, 208, 198]])  # fmt: skip
    rng.shuffle(grounds)
    for k, word in enumerate(words):
        band = np.ones((64, 512, 3)) * grounds[k]
        ink = np.array([232, 222, 196]) if grounds[k].sum() < 400 else np.array([48, 40, 36])
        band[3:5, 6:-6] = band[-5:-3, 6:-6] = ink
        band[draw_word(str(word), 64, 512, scale=5)] = ink
        image[64 * k : 64 * k + 64] = band[::-1]
    shade = 1 + 0.03 * rng.standard_normal(image.shape[:2])
    return np.clip(image * shade[..., None], 0, 255).astype(np.uint8)


def awning(rng: np.random.Generator) -> Pixels:
    """Striped canvas, 1.2 m to a repeat."""
    colors = [(150, 44, 40), (44, 84, 66), (52, 70, 112), (170, 120, 52), (90, 90, 88)]
    first = np.array(colors[int(rng.integers(len(colors)))])
    x = np.arange(128) // 16 % 2
    row = np.where(x[:, None] == 0, first, [222, 214, 198])
    shade = 1 + 0.03 * rng.standard_normal((128, 128))
    return np.clip(row[None] * shade[..., None], 0, 255).astype(np.uint8)


def street_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """All textures of one street by name."""
    bricks = [(142, 78, 60), (164, 104, 78), (120, 66, 54), (178, 140, 104), (150, 92, 64),
              (196, 172, 138)]  # fmt: skip
    picks = rng.choice(len(bricks), 2, replace=False)
    images = {
        "asphalt": asphalt(rng),
        "slabs": slabs(rng),
        "brick_a": brick(rng, bricks[picks[0]]),
        "brick_b": brick(rng, bricks[picks[1]]),
        "plaster": plaster(rng),
        "panel": panel(rng),
        "roof": roof(rng),
        "leaves": leaves(rng),
        "bark": bark(rng),
        "grass": grass(rng),
        "cloth": cloth(rng),
        "curtain": curtain(rng),
        "blinds": blinds(rng),
        "interior_a": shop_interior(rng),
        "interior_b": shop_interior(rng),
        "backdrop": backdrop(rng),
        "signs": signs(rng),
        "awning_a": awning(rng),
        "awning_b": awning(rng),
    }
    return {name: Texture(name, np.ascontiguousarray(p)) for name, p in images.items()}
