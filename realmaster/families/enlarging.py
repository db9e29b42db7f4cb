"""Pictures of a model that works smaller than the session, enlarged with the render's own detail.

What the working size cannot hold is taken from the render, under the contrast that the model gave
to its surroundings: the gain of a guided filter (He, Sun and Tang 2013), fitted at the working
size. What the model drew itself, however unlike the render, stays as it is. This file knows
pictures alone.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

#: The gain is fitted over squares of this side, pixels of the working size.
_WINDOW_PX = 9
#: Variance of the render ([0, 1] squared) below which it says little of contrast.
_FLAT = 1e-3
#: A gain beyond this would be noise.
_MOST_GAIN = 3.0


def enlarged(made: U8, render: U8) -> U8:
    """Pictures (T, h, w, 3) of a model at the size of the render (T, H, W, 3) that they show."""
    height, width = render.shape[1:3]
    assert made.shape[1] <= height, (made.shape, render.shape)
    assert made.shape[2] <= width, (made.shape, render.shape)
    return np.stack([_enlarged(*each) for each in zip(made, render, strict=True)])


def _enlarged(made: U8, render: U8) -> U8:
    whole, size = (render.shape[1], render.shape[0]), (made.shape[1], made.shape[0])
    drawn, shown = _unit(render), _unit(made)
    small = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.float32)
    detail = drawn - cv2.resize(small, whole, interpolation=cv2.INTER_CUBIC)
    gain = cv2.resize(_gain(small, shown), whole, interpolation=cv2.INTER_LINEAR)
    picture = cv2.resize(shown, whole, interpolation=cv2.INTER_CUBIC) + gain * detail
    return np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8)


def _gain(guide: F32, shown: F32) -> F32:
    """(h, w, 3) of each channel: how much stronger `shown` varies than the `guide`, where alike."""
    mean_guide, mean_shown = _mean(guide), _mean(shown)
    together = _mean(guide * shown) - mean_guide * mean_shown
    alone = _mean(guide * guide) - mean_guide * mean_guide
    gain: F32 = np.clip(together / (alone + _FLAT), 0, _MOST_GAIN).astype(np.float32)
    return _mean(gain)


def _mean(image: F32) -> F32:
    window = (_WINDOW_PX, _WINDOW_PX)
    return np.asarray(cv2.blur(image, window, borderType=cv2.BORDER_REFLECT), np.float32)


def _unit(picture: U8) -> F32:
    return picture.astype(np.float32) / np.float32(255)
