// Unreal's camera as the protocol's: axes, intrinsics, device depth. Plain numbers, no Unreal types.
//
// Unreal multiplies row vectors, v' = v M. Its world is left-handed, z up, in centimetres; its view
// space has x right, y up, z forward. Ours is right-handed, z up, in metres; the camera's axes are
// OpenCV's. So the world's y is flipped, and y_cv = -y_view. camera.py holds the same in Python.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace realmaster::unreal {

constexpr double metres_per_cm = 0.01;

// m[row][column] as in FMatrix.
struct Matrix {
    std::array<std::array<double, 4>, 4> m{};
};

// world_from_camera, row-major, of the inverse view matrix: its rows are the camera's right, up and
// forward axes and its place, in Unreal's world.
inline std::array<double, 16> world_from_camera(const Matrix& inverse_view) noexcept {
    constexpr std::array<double, 3> flip{1.0, -1.0, 1.0};
    const auto& rows = inverse_view.m;
    std::array<double, 16> pose{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        pose[axis * 4 + 0] = flip[axis] * rows[0][axis];
        pose[axis * 4 + 1] = -flip[axis] * rows[1][axis];
        pose[axis * 4 + 2] = flip[axis] * rows[2][axis];
        pose[axis * 4 + 3] = metres_per_cm * flip[axis] * rows[3][axis];
    }
    pose[15] = 1.0;
    return pose;
}

// What a perspective projection says: clip.x = x m00 + z m20, clip.y = y m11 + z m21,
// clip.z = z m22 + m32, clip.w = z; z in centimetres, clip.y up.
struct Projection {
    double m00 = 1, m11 = 1, m20 = 0, m21 = 0, m22 = 0, m32 = 10;

    static Projection of(const Matrix& p) noexcept {
        return {p.m[0][0], p.m[1][1], p.m[2][0], p.m[2][1], p.m[2][2], p.m[3][2]};
    }

    // K, row-major, in pixels of a picture of this size.
    std::array<double, 9> intrinsics(double width, double height) const noexcept {
        return {m00 * width / 2, 0, (1 + m20) * width / 2, 0, m11 * height / 2,
                (1 - m21) * height / 2, 0, 0, 1};
    }

    // Planar depth in metres of a device value; +inf where nothing was drawn.
    double depth_m(double device) const noexcept {
        const double slope = device - m22;
        if (!(slope > 0) || device <= 0) {
            return std::numeric_limits<double>::infinity();
        }
        return metres_per_cm * m32 / slope;
    }

    // Unreal's depth is reversed: 1 at the near plane.
    double near_m() const noexcept { return metres_per_cm * m32 / (1 - m22); }
    double far_m() const noexcept {
        return m22 < 0 ? metres_per_cm * m32 / -m22 : std::numeric_limits<double>::infinity();
    }
};

// By how much the picture is shifted, in pixels, x right and y down, against the one without
// anti-aliasing's jitter.
inline std::array<double, 2> jitter_px(const Projection& jittered, const Projection& still,
                                       double width, double height) noexcept {
    return {(jittered.m20 - still.m20) * width / 2, (still.m21 - jittered.m21) * height / 2};
}

// A world normal of Unreal in camera axes.
inline std::array<double, 3> normal_to_camera(const std::array<double, 16>& pose, double x,
                                              double y, double z) noexcept {
    std::array<double, 3> turned{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        turned[axis] = pose[axis] * x - pose[4 + axis] * y + pose[8 + axis] * z;
    }
    return turned;
}

}  // namespace realmaster::unreal
