import cv2
import numpy as np
import pytest

from realmaster import color

# Sharma, Wu and Dalal 2005, table 1: pairs that exercise every branch of CIEDE2000.
SHARMA = [
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]


def test_srgb_curve_has_the_known_points_and_inverts() -> None:
    assert color.srgb_to_linear(np.array([0.0, 0.5, 1.0])) == pytest.approx(
        [0, 0.21404114, 1], 1e-6
    )
    assert color.linear_to_srgb(np.array([0.18]))[0] == pytest.approx(0.46135613, 1e-5)
    codes = np.arange(256) / 255
    assert color.linear_to_srgb(color.srgb_to_linear(codes)) == pytest.approx(codes, abs=1e-6)


def test_lab_of_the_primaries_and_of_greys() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    known = [
        (53.241, 80.092, 67.203),
        (87.735, -86.183, 83.179),
        (32.297, 79.188, -107.860),
        (100, 0, 0),
        (0, 0, 0),
    ]
    assert color.srgb_u8_to_lab(rgb)[0] == pytest.approx(np.array(known), abs=0.02)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.abs(color.srgb_u8_to_lab(greys)[..., 1:]).max() < 1e-3


def test_lab_agrees_with_opencv_from_linear_light() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    linear = color.LINEAR_OF_CODE[rgb]
    reference = cv2.cvtColor(linear, cv2.COLOR_LRGB2Lab)
    assert np.abs(color.srgb_u8_to_lab(rgb) - reference).max() < 0.05


def test_lab_goes_there_and_back_exactly() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(color.lab_to_srgb_u8(color.srgb_u8_to_lab(rgb)), rgb)


@pytest.mark.parametrize("row", SHARMA)
def test_delta_e2000_gives_the_published_values(row: tuple[float, ...]) -> None:
    lab_a, lab_b = np.array([row[:3]]), np.array([row[3:6]])
    assert color.delta_e2000(lab_a, lab_b)[0] == pytest.approx(row[6], abs=1e-4)
    assert color.delta_e2000(lab_b, lab_a)[0] == pytest.approx(row[6], abs=1e-4)


def test_delta_e76_is_the_euclidean_distance() -> None:
    assert color.delta_e76(np.array([[50.0, 3, 4]]), np.array([[50.0, 0, 0]]))[0] == 5
