// GTA-V's camera in the protocol's axes. Pure. The game's world is right-handed with +z up, +y
// north, metres; its camera at rotation 0 looks along +y with +x to the right.
#pragma once

#include <array>
#include <cmath>

namespace realmaster::gtav {

// world_from_camera, row-major, OpenCV's axes. rotation: degrees about x (pitch), y (roll),
// z (yaw), applied roll first, then pitch, then yaw: the natives' order 2.
inline std::array<double, 16> pose_of(const std::array<float, 3>& position,
                                      const std::array<float, 3>& rotation) noexcept {
    constexpr double radians = 3.14159265358979323846 / 180.0;
    const double sx = std::sin(rotation[0] * radians);
    const double cx = std::cos(rotation[0] * radians);
    const double sy = std::sin(rotation[1] * radians);
    const double cy = std::cos(rotation[1] * radians);
    const double sz = std::sin(rotation[2] * radians);
    const double cz = std::cos(rotation[2] * radians);
    // Columns of Rz Rx Ry: the camera's right, forward and up in the world.
    const std::array<double, 3> right{cz * cy - sz * sx * sy, sz * cy + cz * sx * sy, -cx * sy};
    const std::array<double, 3> forward{-sz * cx, cz * cx, sx};
    const std::array<double, 3> up{cz * sy + sz * sx * cy, sz * sy - cz * sx * cy, cx * cy};
    std::array<double, 16> pose{};
    for (std::size_t r = 0; r < 3; ++r) {
        pose[r * 4] = right[r];
        pose[r * 4 + 1] = -up[r];
        pose[r * 4 + 2] = forward[r];
        pose[r * 4 + 3] = position[r];
    }
    pose[15] = 1.0;
    return pose;
}

}  // namespace realmaster::gtav
