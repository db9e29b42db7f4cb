// Motion in pixels, previous minus current, from Unreal's velocity target or from the camera alone.
// Plain numbers, no Unreal types.
//
// Encoding: EncodeVelocityToTexture in Unreal's Common.ush. v is current minus previous in clip
// space (-1..1, y up), without jitter; written is sign(v) sqrt(|v|) sqrt(2) (0.499 / 2) + 32767 /
// 65535, as unorm16; a red of 0 means that nothing was written: the pixel stands still in the world.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include "math/camera.h"

namespace realmaster::unreal {

// One component of the velocity target, 0..1, as a difference in clip space.
inline double decode_velocity(double encoded) noexcept {
    const double linear = (encoded - 32767.0 / 65535.0) / (0.499 * 0.5);
    return linear * std::abs(linear) * 0.5;
}

// Pixels, x right and y down, previous minus current, of decoded velocity.
inline std::array<double, 2> velocity_to_px(double clip_x, double clip_y, double width,
                                            double height) noexcept {
    return {-clip_x * width / 2, clip_y * height / 2};
}

// Where a point that stands still in the world was a frame ago.
class StaticMotion {
public:
    // Poses are world_from_camera; K and K_prev without jitter; jitter of the current frame.
    StaticMotion(const std::array<double, 9>& K, const std::array<double, 16>& pose,
                 const std::array<double, 9>& K_prev, const std::array<double, 16>& pose_prev,
                 const std::array<double, 2>& jitter) noexcept
        : K_(K), K_prev_(K_prev), jitter_(jitter) {
        for (std::size_t r = 0; r < 3; ++r) {
            for (std::size_t c = 0; c < 4; ++c) {
                double sum = 0;
                for (std::size_t k = 0; k < 3; ++k) {
                    const double along = c < 3 ? pose[k * 4 + c] : pose[k * 4 + 3] - pose_prev[k * 4 + 3];
                    sum += pose_prev[k * 4 + r] * along;
                }
                prev_from_now_[r * 4 + c] = sum;
            }
        }
    }

    // p_prev - p_cur of the pixel at (px, py), centres at +0.5, with this depth (may be +inf);
    // NaN where it was behind the camera.
    std::array<double, 2> at(double px, double py, double depth_m) const noexcept {
        const double x = px - jitter_[0], y = py - jitter_[1];
        const double ray_x = (x - K_[2]) / K_[0], ray_y = (y - K_[5]) / K_[4];
        const double inverse = 1 / depth_m;  // homogeneous, so that the sky is a direction
        std::array<double, 3> prev{};
        for (std::size_t r = 0; r < 3; ++r) {
            const double* row = &prev_from_now_[r * 4];
            prev[r] = row[0] * ray_x + row[1] * ray_y + row[2] + row[3] * inverse;
        }
        if (!(prev[2] > 0)) {
            return {std::nan(""), std::nan("")};
        }
        return {K_prev_[0] * prev[0] / prev[2] + K_prev_[2] - x,
                K_prev_[4] * prev[1] / prev[2] + K_prev_[5] - y};
    }

private:
    std::array<double, 9> K_;
    std::array<double, 9> K_prev_;
    std::array<double, 2> jitter_;
    std::array<double, 12> prev_from_now_{};
};

}  // namespace realmaster::unreal
