"""Prints how many MiB one 1080p frame takes inside the fast tier's network, in a fresh process."""

import resource

import numpy as np

from realmaster.fast import HIDDEN_CHANNELS, HIDDEN_STRIDE, INPUT_NAMES, FastModel

HEIGHT, WIDTH = 1088, 1920
SHAPES = {
    "ray_x": (1, 1, 1, WIDTH),
    "ray_y": (1, 1, HEIGHT, 1),
    "up": (1, 3, 1, 1),
    "hidden": (1, HIDDEN_CHANNELS, HEIGHT // HIDDEN_STRIDE, WIDTH // HIDDEN_STRIDE),
    "has_material": (1, 1, 1, 1),
    **dict.fromkeys(("color", "normal", "prev", "albedo"), (1, 3, HEIGHT, WIDTH)),
    **dict.fromkeys(("depth", "valid", "roughness"), (1, 1, HEIGHT, WIDTH)),
}


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    model = FastModel()
    feed = {name: np.ones(SHAPES[name], np.float32) for name in INPUT_NAMES}
    before = peak_kib()
    model.infer(feed)
    print((peak_kib() - before) / 1024)
