"""Path-traces the frames of a recorded street session: same street, moments and cameras.

This file knows sessions and the street; rendering is `truth.py`'s, writing is the caller's.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import SessionError
from capture_bridge.messages import Camera, FrameHeader, Hello
from engine_plugins.street.scene import PathName, Street, build_street
from engine_plugins.street.truth import TruthRenderer, View

_PATHS: dict[str, PathName] = {"drive": "drive", "walk": "walk"}
_NS_PER_S = 1e-9
_MAX_SEED_DIGITS = 9


def street_of_session(hello: Hello) -> Street:
    """Return the street that a session was recorded in; its hello names seed and path.

    Raises SessionError when the session is not from the street game.
    """
    seed, path = hello.params.get("seed", ""), _PATHS.get(hello.params.get("path", ""))
    if path is None or not (seed.isascii() and seed.isdigit() and len(seed) <= _MAX_SEED_DIGITS):
        raise SessionError(
            f"the session is from {hello.game or hello.engine!r}, and only sessions of the street "
            'game (hello.params "seed" and "path") can be path-traced; record one with '
            "realmaster record --source street"
        )
    return build_street(int(seed), path)


def render_session_truth(
    hello: Hello, headers: Sequence[FrameHeader], frames: Sequence[int], *, spp: int = 64
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (index, sRGB u8 (H, W, 3)) for each index of `frames` into a session's headers.

    The size is the frame's render size. Raises SessionError for a session that is not the street
    game's, an index that it does not have, or a frame without a camera; SetupError without Mitsuba.
    """
    outside = [index for index in frames if not 0 <= index < len(headers)]
    if outside:
        raise SessionError(f"frame {outside[0]} is not in the session: it has {len(headers)}")
    street = street_of_session(hello)
    renderer: TruthRenderer | None = None
    size = (0, 0)
    for index in frames:
        header = headers[index]
        if header.camera is None:
            raise SessionError(f"frame {index} has no camera: it cannot be path-traced")
        if renderer is None or header.render_size != size:
            size = header.render_size
            renderer = TruthRenderer(street, *size, spp=spp)
        t_s = header.t_sim_ns * _NS_PER_S
        yield index, renderer.color(t_s, view=_view(header.camera), seed=index)


def _view(camera: Camera) -> View:
    return View(np.asarray(camera.K), np.asarray(camera.world_from_camera))
