#include "pixels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

// Compiled for AVX2 and for any processor; the loader takes what this one has.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RM_FAST __attribute__((target_clones("avx2", "default")))
#else
#define RM_FAST
#endif

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

// Motion beyond this many pixels comes from beside the camera and means nothing.
constexpr float longest = 30000;

// Second differences below this share of 1/z are float steps of the device, not edges.
constexpr float straight = 2e-4F;

// Rows are computed in pieces, whose scratch memory fits on a small stack.
constexpr std::size_t piece = 512;
constexpr float no_pixels[piece] = {};  // what lies above the first row and below the last

// The slope of 1/z along one axis, where one of the pixels beside it is no sky. Selections alone,
// no branches and no flags kept, so that the compiler computes many pixels at once.
inline float slope_of(float l2, float l1, float c, float r1, float r2) noexcept {
    constexpr float none = std::numeric_limits<float>::max();
    const float left_bend = std::min(l2, l1) > 0 ? std::abs(2 * l1 - l2 - c) : none;
    const float right_bend = std::min(r2, r1) > 0 ? std::abs(2 * r1 - r2 - c) : none;
    const float left = c - l1, right = r1 - c;
    const float left_step = l1 > 0 ? std::abs(left) : none;
    const float right_step = r1 > 0 ? std::abs(right) : none;
    const float nearer = left_step < right_step ? left : right;
    const float straighter = left_bend < right_bend ? left : right;
    const float side = std::min(left_bend, right_bend) < none ? straighter : nearer;
    return std::max(left_bend, right_bend) < straight * c ? (r1 - l1) * 0.5F : side;
}

// Rounds to nearest even; below 2^-14 becomes 0, which is finer than the buffers' meaning.
inline std::uint16_t half_of(float value) noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    const std::uint32_t magnitude = bits & 0x7fffffffU, sign = (bits >> 16) & 0x8000U;
    const std::uint32_t rounded =
        (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
    std::uint32_t half = magnitude >= 0x477ff000U ? sign | 0x7c00U : sign | rounded;
    half = magnitude < 0x38800000U ? sign : half;
    half = magnitude > 0x7f800000U ? 0x7e00U : half;
    return static_cast<std::uint16_t>(half);
}

}  // namespace

std::uint16_t half_from(float value) noexcept { return half_of(value); }

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

namespace {

// A piece of a row of 1/z with two pixels more on either side, and halves of its normals.
struct NormalPiece {
    float here[piece + 4];
    std::uint16_t x[piece], y[piece], z[piece];
};

// around: the same pixels two rows and one row above, one row and two rows below. u, v: of the
// piece's first pixel, from the principal point.
RM_FAST void normals_of_piece(const float* const (&around)[4], std::size_t count, float fx,
                              float fy, float u, float v, NormalPiece* out) noexcept {
    const float *up2 = around[0], *up1 = around[1], *down1 = around[2], *down2 = around[3];
    const float *left2 = out->here, *left1 = left2 + 1, *right1 = left2 + 3, *right2 = left2 + 4;
    for (std::size_t i = 0; i < count; ++i) {
        const float c = left2[i + 2], l1 = left1[i], r1 = right1[i], u1 = up1[i], d1 = down1[i];
        const float across = slope_of(left2[i], l1, c, r1, right2[i]);
        const float along = slope_of(up2[i], u1, c, d1, down2[i]);
        const float nx = across * fx, ny = along * fy;
        const float x = u + static_cast<float>(static_cast<std::int32_t>(i));
        const float nz = c - across * x - along * v;
        const float scale = -1.0F / std::sqrt(nx * nx + ny * ny + nz * nz);
        const float least = std::min(c, std::min(std::max(l1, r1), std::max(u1, d1)));
        out->x[i] = half_of(least > 0 ? nx * scale : 0.0F);
        out->y[i] = half_of(least > 0 ? ny * scale : 0.0F);
        out->z[i] = half_of(least > 0 ? nz * scale : 0.0F);
    }
}

RM_FAST void motion_of_piece(const float* inverse, const float* u, std::size_t count, float v,
                             float fx, float fy, const float (&r)[16],
                             std::uint16_t* out) noexcept {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (std::size_t i = 0; i < count; ++i) {
        const float q = inverse[i];
        const float px = r[0] * u[i] + r[4] * v + r[8] + r[12] * q;
        const float py = r[1] * u[i] + r[5] * v + r[9] + r[13] * q;
        const float pz = r[2] * u[i] + r[6] * v + r[10] + r[14] * q;
        const float mx = (px / pz - u[i]) * fx, my = (py / pz - v) * fy;
        const bool told = (pz > 1e-4F) & (std::abs(mx) < longest) & (std::abs(my) < longest);
        out[2 * i] = half_of(told ? mx : nan);
        out[2 * i + 1] = half_of(told ? my : nan);
    }
}

}  // namespace

void write_normals(const float* inverse, const ViewGeometry& view, std::uint16_t* out) noexcept {
    const std::int64_t width = view.size.width, height = view.size.height;
    NormalPiece normals;
    for (std::int64_t y = 0; y < height; ++y) {
        const float v = static_cast<float>(y) + 0.5F - static_cast<float>(view.cy);
        const float* row = inverse + y * width;
        for (std::int64_t x = 0; x < width; x += piece) {
            const auto count = std::min<std::int64_t>(width - x, piece);
            const auto around = [&](std::int64_t rows) {
                const bool inside = y + rows >= 0 && y + rows < height;
                return inside ? row + rows * width + x : no_pixels;
            };
            const float* const four[4] = {around(-2), around(-1), around(1), around(2)};
            for (std::int64_t i = -2; i < count + 2; ++i) {
                normals.here[i + 2] = x + i >= 0 && x + i < width ? row[x + i] : 0;
            }
            const float u = static_cast<float>(x) + 0.5F - static_cast<float>(view.cx);
            normals_of_piece(four, static_cast<std::size_t>(count), static_cast<float>(view.fx),
                             static_cast<float>(view.fy), u, v, &normals);
            for (std::int64_t i = 0; i < count; ++i, out += 3) {
                out[0] = normals.x[i];
                out[1] = normals.y[i];
                out[2] = normals.z[i];
            }
        }
    }
}

void write_motion(const float* inverse, const ViewGeometry& view, const Mat4& prev_from_now,
                  std::uint16_t* out) noexcept {
    const std::size_t width = view.size.width;
    float r[16], u[piece];
    std::transform(prev_from_now.begin(), prev_from_now.end(), r,
                   [](double value) { return static_cast<float>(value); });
    const auto fx = static_cast<float>(view.fx), fy = static_cast<float>(view.fy);
    const auto cx = static_cast<float>(view.cx), cy = static_cast<float>(view.cy);
    for (std::size_t x = 0; x < width; x += piece) {
        const std::size_t count = std::min(width - x, piece);
        for (std::size_t i = 0; i < count; ++i) {
            u[i] = (static_cast<float>(x + i) + 0.5F - cx) / fx;
        }
        for (std::size_t y = 0; y < view.size.height; ++y) {
            const float v = (static_cast<float>(y) + 0.5F - cy) / fy;
            const std::size_t at = y * width + x;
            motion_of_piece(inverse + at, u, count, v, fx, fy, r, out + 2 * at);
        }
    }
}

}  // namespace realmaster::opengl
