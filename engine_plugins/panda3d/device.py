"""A graphics engine without a window, and off-screen targets whose planes come back as arrays.

This file knows Panda3D and OpenGL's habits; it does not know what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from panda3d.core import (
    FrameBufferProperties,
    GraphicsEngine,
    GraphicsOutput,
    GraphicsPipe,
    GraphicsPipeSelection,
    SamplerState,
    Texture,
    WindowProperties,
    loadPrcFileData,
)

from capture_bridge.errors import SetupError

_PLANES = {
    "color": (GraphicsOutput.RTPColor, np.uint8),
    "hrgba": (GraphicsOutput.RTPAuxHrgba0, np.float32),
    "float": (GraphicsOutput.RTPAuxFloat0, np.float32),
    "depth": (GraphicsOutput.RTPDepth, np.float32),
}


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A graphics engine and the output that owns its OpenGL context."""

    engine: Any  # GraphicsEngine
    host: Any  # GraphicsOutput


_headless: list[Device] = []


def open_headless() -> Device:
    """The process's headless device; the first call opens it.

    Raises SetupError where no OpenGL (EGL) can be loaded.
    """
    if _headless:
        return _headless[0]
    loadPrcFileData(
        "",
        "textures-power-2 none\ngarbage-collect-states-rate 1.0\nsync-video false\n"
        "notify-level-egldisplay fatal",
    )
    pipe = GraphicsPipeSelection.getGlobalPtr().makeModulePipe("p3headlessgl")
    engine = GraphicsEngine.getGlobalPtr()
    host = None
    if pipe is not None:
        host = engine.makeOutput(
            pipe,
            "host",
            0,
            _plain_properties(),
            WindowProperties.size(16, 16),
            GraphicsPipe.BFRefuseWindow,
        )
    if host is None or host.getGsg() is None:
        raise SetupError(
            "Panda3D cannot open OpenGL without a screen: libEGL or libGL is missing; "
            "on Debian: apt-get install libegl1 libgl1 libgl1-mesa-dri"
        )
    engine.renderFrame()
    _headless.append(Device(engine, host))
    return _headless[0]


def _plain_properties() -> Any:
    props = FrameBufferProperties()
    props.setRgbaBits(8, 8, 8, 8)
    props.setDepthBits(24)
    return props


class Target:
    """An off-screen buffer of `planes` ("color", "hrgba", "float", "depth"), read back as arrays.

    Raises SetupError where the driver refuses it.
    """

    def __init__(
        self,
        device: Device,
        name: str,
        size: tuple[int, int],
        planes: tuple[str, ...],
        *,
        multisamples: int = 0,
        sort: int = -10,
    ) -> None:
        self._device = device
        self.size = size
        props = FrameBufferProperties()
        props.setRgbaBits(8, 8, 8, 8)
        props.setDepthBits(32 if "depth" in planes else 24)
        props.setAuxHrgba(1 if "hrgba" in planes else 0)
        props.setAuxFloat(1 if "float" in planes else 0)
        if multisamples:
            props.setMultisamples(multisamples)
        self.buffer = device.engine.makeOutput(
            device.host.getPipe(),
            name,
            sort,
            props,
            WindowProperties.size(*size),
            GraphicsPipe.BFRefuseWindow,
            device.host.getGsg(),
            device.host,
        )
        if self.buffer is None:
            raise SetupError(
                f"the graphics driver refuses a {size[0]}x{size[1]} buffer of {planes}"
            )
        self.textures: dict[str, Any] = {}
        for plane in planes:
            texture = Texture(f"{name}-{plane}")
            if plane == "depth":
                texture.setFormat(Texture.FDepthComponent)
                texture.setMinfilter(SamplerState.FTShadow)
                texture.setMagfilter(SamplerState.FTShadow)
            mode = GraphicsOutput.RTMBindOrCopy
            self.buffer.addRenderTexture(texture, mode, _PLANES[plane][0])
            self.textures[plane] = texture
        for plane in ("color", "hrgba", "float"):
            if plane in planes:
                self.buffer.setClearActive(_PLANES[plane][0], True)
                self.buffer.setClearValue(_PLANES[plane][0], (0, 0, 0, 0))

    def read(self, plane: str) -> NDArray[Any]:
        """The plane of the last frame as (H, W, 4), rows top to bottom, R G B A; a fresh array."""
        return read_texture(self._device, self.textures[plane], self.size, _PLANES[plane][1])

    def close(self) -> None:
        """Free the buffer; reading it afterwards is an error."""
        self._device.engine.removeWindow(self.buffer)
        self.textures.clear()


def read_texture(
    device: Device, texture: Any, size: tuple[int, int], dtype: Any = np.uint8
) -> NDArray[Any]:
    """A four-channel texture of the last frame as (H, W, 4), rows top to bottom, R G B A; fresh."""
    if not device.engine.extractTextureData(texture, device.host.getGsg()):
        raise SetupError(f"the graphics driver does not hand back {texture.getName()!r}")
    width, height = size
    data = np.frombuffer(texture.getRamImage(), dtype=dtype)
    image = data.reshape(height, width, 4)[::-1]
    return np.ascontiguousarray(image[..., [2, 1, 0, 3]])
