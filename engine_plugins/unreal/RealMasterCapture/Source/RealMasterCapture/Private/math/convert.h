// Rows of GPU memory to the protocol's buffers: one function per buffer. Plain memory, no Unreal
// types. A source's rows lie `pitch` bytes apart, whatever its width; the destination is tight.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "math/camera.h"
#include "math/half.h"
#include "math/motion.h"

namespace realmaster::unreal {

struct Source {
    const std::uint8_t* data = nullptr;
    std::size_t pitch = 0;  // bytes from row to row
};

struct Extent {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
};

namespace detail {

template <class T>
T load(const std::uint8_t* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
}

template <class T>
void store(std::uint8_t* at, T value) noexcept {
    std::memcpy(at, &value, sizeof(T));
}

inline double unorm16(const std::uint8_t* at) noexcept { return load<std::uint16_t>(at) / 65535.0; }

}  // namespace detail

// R8G8B8A8; alpha becomes opaque, since Unreal's is no coverage.
inline void convert_color(Source from, Extent size, std::uint8_t* to) noexcept {
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const std::uint8_t* row = from.data + y * from.pitch;
        std::uint8_t* out = to + std::size_t{y} * size.width * 4;
        std::memcpy(out, row, std::size_t{size.width} * 4);
        for (std::uint32_t x = 0; x < size.width; ++x) {
            out[std::size_t{x} * 4 + 3] = 255;
        }
    }
}

// R32_FLOAT device depth to metres.
inline void convert_depth(Source from, Extent size, const Projection& projection,
                          std::uint8_t* to) noexcept {
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const std::uint8_t* row = from.data + y * from.pitch;
        for (std::uint32_t x = 0; x < size.width; ++x, to += 4) {
            const auto device = detail::load<float>(row + std::size_t{x} * 4);
            detail::store(to, static_cast<float>(projection.depth_m(device)));
        }
    }
}

// R16G16B16A16_UNORM world normals (n + 1) / 2 to camera space, f16 x 3; 0 where `depth` is sky or
// the vector is none. Returns the share of drawn pixels whose vector has unit length: where a
// renderer keeps something else in that target, it is low.
inline double convert_normal(Source from, Source depth, Extent size,
                             const std::array<double, 16>& pose, std::uint8_t* to) noexcept {
    std::uint64_t drawn = 0, units = 0;
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const std::uint8_t* row = from.data + y * from.pitch;
        const std::uint8_t* depths = depth.data + y * depth.pitch;
        for (std::uint32_t x = 0; x < size.width; ++x, to += 6) {
            const std::uint8_t* at = row + std::size_t{x} * 8;
            std::array<double, 3> n{};
            if (detail::load<float>(depths + std::size_t{x} * 4) > 0) {
                ++drawn;
                n = normal_to_camera(pose, 2 * detail::unorm16(at) - 1,
                                     2 * detail::unorm16(at + 2) - 1,
                                     2 * detail::unorm16(at + 4) - 1);
                const double length = std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
                units += std::abs(length - 1) < 0.02 ? 1 : 0;
                for (double& part : n) {
                    part = length > 0.1 ? part / length : 0;
                }
            }
            for (std::size_t axis = 0; axis < 3; ++axis) {
                detail::store(to + axis * 2, to_half(static_cast<float>(n[axis])));
            }
        }
    }
    return drawn == 0 ? 1.0 : static_cast<double>(units) / static_cast<double>(drawn);
}

// R16G16B16A16_UNORM velocity to pixels, f16 x 2; what it does not hold follows from the camera.
// velocity.data may be null: nothing moved by itself. has_history false (a cut): all unknown.
inline void convert_motion(Source velocity, Source depth, Extent size, const Projection& projection,
                           const StaticMotion& still, bool has_history, std::uint8_t* to) noexcept {
    const double width = size.width, height = size.height;
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const std::uint8_t* row = velocity.data == nullptr ? nullptr : velocity.data + y * velocity.pitch;
        const std::uint8_t* depths = depth.data + y * depth.pitch;
        for (std::uint32_t x = 0; x < size.width; ++x, to += 4) {
            const std::uint8_t* at = row == nullptr ? nullptr : row + std::size_t{x} * 8;
            std::array<double, 2> px{std::nan(""), std::nan("")};
            if (has_history && at != nullptr && detail::load<std::uint16_t>(at) != 0) {
                px = velocity_to_px(decode_velocity(detail::unorm16(at)),
                                    decode_velocity(detail::unorm16(at + 2)), width, height);
            } else if (has_history) {
                const auto device = detail::load<float>(depths + std::size_t{x} * 4);
                px = still.at(x + 0.5, y + 0.5, projection.depth_m(device));
            }
            detail::store(to, to_half(static_cast<float>(px[0])));
            detail::store(to + 2, to_half(static_cast<float>(px[1])));
        }
    }
}

// R8_UINT custom stencil to u32 ids; 0 is none in both. from.data may be null: no object has any.
inline void convert_stencil(Source from, Extent size, std::uint8_t* to) noexcept {
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const std::uint8_t* row = from.data == nullptr ? nullptr : from.data + y * from.pitch;
        for (std::uint32_t x = 0; x < size.width; ++x, to += 4) {
            detail::store(to, row == nullptr ? 0U : std::uint32_t{row[x]});
        }
    }
}

}  // namespace realmaster::unreal
