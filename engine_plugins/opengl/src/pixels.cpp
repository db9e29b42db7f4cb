#include "pixels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace realmaster::opengl {
namespace {

// 1/z = (device - far_device) * slope + inverse_far: exact where float steps are finest.
struct LinearLaw {
    float far_device, slope, inverse_far;
};

LinearLaw linear_law(const DepthLaw& law, double metres) noexcept {
    const double span = law.mapping.range_far - law.mapping.range_near;
    const double low = law.mapping.zero_to_one ? 0 : -1;
    const auto inverse_at = [&](double unit) {
        return (low + (1 - low) * unit - law.p.a) / law.p.b / metres;
    };
    const double at_near = inverse_at(0), at_far = inverse_at(1);
    const bool reversed = at_far > at_near;
    const double far_device = reversed ? law.mapping.range_near : law.mapping.range_far;
    return {static_cast<float>(far_device), static_cast<float>((at_far - at_near) / span),
            static_cast<float>(std::max(0.0, reversed ? at_near : at_far))};
}

std::uint32_t bits_of(float value) noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// The slope of 1/z along one axis from two pixels on either side; false where both are sky.
struct Slope {
    float value;
    bool known;
};

// Motion beyond this many pixels comes from beside the camera and means nothing.
constexpr float longest = 30000;

// Second differences below this share of 1/z are float steps of the device, not edges.
constexpr float straight = 2e-4F;

Slope slope_of(float l2, float l1, float c, float r1, float r2) noexcept {
    const float none = std::numeric_limits<float>::max();
    const float left_bend = l2 > 0 && l1 > 0 ? std::abs(2 * l1 - l2 - c) : none;
    const float right_bend = r2 > 0 && r1 > 0 ? std::abs(2 * r1 - r2 - c) : none;
    const float left = c - l1, right = r1 - c;
    if (left_bend < straight * c && right_bend < straight * c) return {(r1 - l1) * 0.5F, true};
    if (left_bend == none && right_bend == none) {
        if (l1 > 0 && (r1 <= 0 || std::abs(left) < std::abs(right))) return {left, true};
        return {right, r1 > 0};
    }
    return {left_bend < right_bend ? left : right, true};
}

}  // namespace

// Rounds to nearest even; below 2^-14 becomes 0, which is finer than the buffers' meaning.
std::uint16_t half_from(float value) noexcept {
    const std::uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffU;
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    if (magnitude > 0x7f800000U) return 0x7e00;
    if (magnitude < 0x38800000U) return static_cast<std::uint16_t>(sign);
    if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);
    const std::uint32_t rounded = magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U);
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

void fill_half(std::uint16_t value, std::size_t count, std::uint16_t* out) noexcept {
    std::fill_n(out, count, value);
}

void write_color(const std::uint8_t* source, Extent size, std::uint8_t* out) noexcept {
    constexpr std::uint32_t opaque_little_endian = 0xff000000U;
    for (std::uint32_t row = 0; row < size.height; ++row) {
        const std::uint8_t* from = source + 4 * size.row_from_top(row);
        std::uint8_t* to = out + std::size_t{4} * size.width * row;
        for (std::uint32_t i = 0; i < size.width; ++i) {
            std::uint32_t pixel = 0;
            std::memcpy(&pixel, from + std::size_t{4} * i, 4);
            pixel |= opaque_little_endian;
            std::memcpy(to + std::size_t{4} * i, &pixel, 4);
        }
    }
}

void inverse_depth(const DeviceDepth& device, const ViewGeometry& view, float* inverse) noexcept {
    const Extent size = view.size;
    LinearLaw laws[max_segments];
    for (int i = 0; i < view.num_segments; ++i) laws[i] = linear_law(view.segments[i], view.metres);
    for (std::uint32_t row = 0; row < size.height; ++row) {
        const std::size_t start = size.row_from_top(row);
        const float* final = device.final + start;
        float* out = inverse + std::size_t{size.width} * row;
        const LinearLaw first = laws[0];
        for (std::uint32_t i = 0; i < size.width; ++i) {
            const float d = final[i];
            const float value = (d - first.far_device) * first.slope + first.inverse_far;
            out[i] = d == first.far_device || !(value > 0) ? 0.0F : value;
        }
        for (int segment = 1; segment < view.num_segments; ++segment) {
            const float* before = device.before[segment];
            if (before == nullptr) continue;
            const bool last = segment + 1 == view.num_segments;
            const float* after = last ? nullptr : device.before[segment + 1];
            after = after == nullptr ? final : after + start;
            before += start;
            const LinearLaw law = laws[segment];
            for (std::uint32_t i = 0; i < size.width; ++i) {
                const float d = final[i];
                const bool drew = after[i] != before[i] && after[i] == d;
                const float value = (d - law.far_device) * law.slope + law.inverse_far;
                if (drew) out[i] = value > 0 ? value : 0.0F;
            }
        }
    }
}

void write_depth(const float* inverse, Extent size, float* out) noexcept {
    const std::size_t count = size.pixels();
    for (std::size_t i = 0; i < count; ++i) out[i] = 1.0F / inverse[i];  // 1/0 is +inf
}

void write_normals(const float* inverse, const ViewGeometry& view, std::uint16_t* out) noexcept {
    const std::int64_t width = view.size.width, height = view.size.height;
    const auto fx = static_cast<float>(view.fx), fy = static_cast<float>(view.fy);
    for (std::int64_t y = 0; y < height; ++y) {
        const float* row = inverse + y * width;
        const float* up1 = y >= 1 ? row - width : nullptr;
        const float* up2 = y >= 2 ? row - 2 * width : nullptr;
        const float* down1 = y + 1 < height ? row + width : nullptr;
        const float* down2 = y + 2 < height ? row + 2 * width : nullptr;
        const float v = static_cast<float>(y) + 0.5F - static_cast<float>(view.cy);
        for (std::int64_t x = 0; x < width; ++x) {
            std::uint16_t* normal = out + 3 * (y * width + x);
            const float c = row[x];
            const Slope across =
                slope_of(x >= 2 ? row[x - 2] : 0, x >= 1 ? row[x - 1] : 0, c,
                         x + 1 < width ? row[x + 1] : 0, x + 2 < width ? row[x + 2] : 0);
            const Slope along = slope_of(up2 ? up2[x] : 0, up1 ? up1[x] : 0, c,
                                         down1 ? down1[x] : 0, down2 ? down2[x] : 0);
            if (!(c > 0) || !across.known || !along.known) {
                normal[0] = normal[1] = normal[2] = 0;
                continue;
            }
            const float u = static_cast<float>(x) + 0.5F - static_cast<float>(view.cx);
            const float nx = across.value * fx, ny = along.value * fy;
            const float nz = c - across.value * u - along.value * v;
            const float scale = -1.0F / std::sqrt(nx * nx + ny * ny + nz * nz);
            normal[0] = half_from(nx * scale);
            normal[1] = half_from(ny * scale);
            normal[2] = half_from(nz * scale);
        }
    }
}

void write_motion(const float* inverse, const ViewGeometry& view, const Mat4& prev_from_now,
                  std::uint16_t* out) noexcept {
    const Extent size = view.size;
    float r[16];
    std::transform(prev_from_now.begin(), prev_from_now.end(), r,
                   [](double v) { return static_cast<float>(v); });
    const auto fx = static_cast<float>(view.fx), fy = static_cast<float>(view.fy);
    const auto cx = static_cast<float>(view.cx), cy = static_cast<float>(view.cy);
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const float v = (static_cast<float>(y) + 0.5F - cy) / fy;
        for (std::uint32_t x = 0; x < size.width; ++x) {
            const std::size_t i = std::size_t{size.width} * y + x;
            const float u = (static_cast<float>(x) + 0.5F - cx) / fx, q = inverse[i];
            const float px = r[0] * u + r[4] * v + r[8] + r[12] * q;
            const float py = r[1] * u + r[5] * v + r[9] + r[13] * q;
            const float pz = r[2] * u + r[6] * v + r[10] + r[14] * q;
            const float nan = std::numeric_limits<float>::quiet_NaN();
            const float mx = (px / pz - u) * fx, my = (py / pz - v) * fy;
            const bool told = pz > 1e-4F && std::abs(mx) < longest && std::abs(my) < longest;
            out[2 * i] = half_from(told ? mx : nan);
            out[2 * i + 1] = half_from(told ? my : nan);
        }
    }
}

}  // namespace realmaster::opengl
