// See normals.h.
#include "normals.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace realmaster {

namespace f = dxgi_format;

namespace {

constexpr std::uint32_t sample_stride = 4;
constexpr std::size_t max_samples = 8192;
constexpr double tie_deg = 0.2;  // a less usual encoding must be better by this
constexpr float max_depth_step = 0.05F;  // relative; more is an edge

float unorm(std::uint32_t value, std::uint32_t top) noexcept {
    return 2.0F * static_cast<float>(value) / static_cast<float>(top) - 1.0F;
}

template <typename T>
T load(const std::uint8_t* data, std::size_t index) noexcept {
    T value;
    std::memcpy(&value, data + index * sizeof(T), sizeof(T));
    return value;
}

// The texel's first three numbers, unsigned formats mapped to -1..1.
bool load_texel(const Image& image, std::uint32_t x, std::uint32_t y, Vec3* out) noexcept {
    const std::uint8_t* row = image.row(y);
    const std::size_t i = x;
    switch (image.format) {
        case f::r8g8b8a8_unorm:
        case f::r8g8b8a8_unorm_srgb:
        case f::r8g8b8a8_typeless:
            *out = {unorm(row[i * 4], 255), unorm(row[i * 4 + 1], 255), unorm(row[i * 4 + 2], 255)};
            return true;
        case f::b8g8r8a8_unorm:
        case f::b8g8r8a8_typeless:
            *out = {unorm(row[i * 4 + 2], 255), unorm(row[i * 4 + 1], 255), unorm(row[i * 4], 255)};
            return true;
        case f::r8g8b8a8_snorm:
            for (std::size_t c = 0; c < 3; ++c) {
                const auto value = static_cast<float>(static_cast<std::int8_t>(row[i * 4 + c]));
                (*out)[c] = std::max(-1.0F, value / 127.0F);
            }
            return true;
        case f::r10g10b10a2_unorm:
        case f::r10g10b10a2_typeless: {
            const auto texel = load<std::uint32_t>(row, i);
            *out = {unorm(texel & 1023U, 1023), unorm((texel >> 10U) & 1023U, 1023),
                    unorm((texel >> 20U) & 1023U, 1023)};
            return true;
        }
        case f::r16g16b16a16_float:
        case f::r16g16b16a16_typeless:
            for (std::size_t c = 0; c < 3; ++c) {
                (*out)[c] = float_of_half(load<std::uint16_t>(row, i * 4 + c));
            }
            return true;
        case f::r16g16b16a16_unorm:
            for (std::size_t c = 0; c < 3; ++c) {
                (*out)[c] = unorm(load<std::uint16_t>(row, i * 4 + c), 65535);
            }
            return true;
        case f::r16g16b16a16_snorm:
            for (std::size_t c = 0; c < 3; ++c) {
                (*out)[c] = static_cast<float>(load<std::int16_t>(row, i * 4 + c)) / 32767.0F;
            }
            return true;
        case f::r32g32b32a32_float:
            *out = {load<float>(row, i * 4), load<float>(row, i * 4 + 1), load<float>(row, i * 4 + 2)};
            return true;
        case f::r16g16_float:
            *out = {float_of_half(load<std::uint16_t>(row, i * 2)),
                    float_of_half(load<std::uint16_t>(row, i * 2 + 1)), 0.0F};
            return true;
        case f::r16g16_unorm:
            *out = {unorm(load<std::uint16_t>(row, i * 2), 65535),
                    unorm(load<std::uint16_t>(row, i * 2 + 1), 65535), 0.0F};
            return true;
        case f::r16g16_snorm:
            *out = {static_cast<float>(load<std::int16_t>(row, i * 2)) / 32767.0F,
                    static_cast<float>(load<std::int16_t>(row, i * 2 + 1)) / 32767.0F, 0.0F};
            return true;
        default:
            return false;
    }
}

bool unpack(const Vec3& texel, NormalPacking packing, Vec3* out) noexcept {
    Vec3 n = texel;
    switch (packing) {
        case NormalPacking::xyz:
            break;
        case NormalPacking::xy_positive_z:
            n[2] = std::sqrt(std::max(0.0F, 1.0F - n[0] * n[0] - n[1] * n[1]));
            break;
        case NormalPacking::octahedral: {  // Cigolle et al. 2014, section 3.2
            n[2] = 1.0F - std::abs(n[0]) - std::abs(n[1]);
            const float fold = std::max(-n[2], 0.0F);
            n[0] += n[0] >= 0.0F ? -fold : fold;
            n[1] += n[1] >= 0.0F ? -fold : fold;
            break;
        }
        case NormalPacking::spheremap: {  // Lambert azimuthal equal-area; n is already -1..1
            const float fx = 2.0F * n[0];
            const float fy = 2.0F * n[1];
            const float square = fx * fx + fy * fy;
            if (square > 4.0F) {
                return false;
            }
            const float g = std::sqrt(1.0F - square / 4.0F);
            n = {fx * g, fy * g, 1.0F - square / 2.0F};
            break;
        }
    }
    const float length = std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
    if (!(length > 0.25F && length < 2.0F)) {
        return false;  // nothing was drawn here
    }
    *out = {n[0] / length, n[1] / length, n[2] / length};
    return true;
}

Vec3 rotated(const Matrix3& m, const Vec3& v) noexcept {
    Vec3 out{};
    for (std::size_t r = 0; r < 3; ++r) {
        out[r] = static_cast<float>(m[r * 3] * v[0] + m[r * 3 + 1] * v[1] + m[r * 3 + 2] * v[2]);
    }
    return out;
}

// Pixels where both speak: depth's normal and the texel.
struct Samples {
    std::array<Vec3, max_samples> of_depth;
    std::array<Vec3, max_samples> texels;
    std::size_t count = 0;
};

void collect(const Image& target, const float* depth, const Matrix3& K, Samples* samples) noexcept {
    std::uint32_t stride = sample_stride;
    while (std::size_t{target.width / stride + 1} * (target.height / stride + 1) > max_samples) {
        ++stride;
    }
    for (std::uint32_t y = stride; y + stride < target.height; y += stride) {
        for (std::uint32_t x = stride; x + stride < target.width; x += stride) {
            Vec3 normal{};
            Vec3 texel{};
            if (normal_of_depth(depth, target.width, target.height, K, x, y, &normal) &&
                load_texel(target, x, y, &texel)) {
                samples->of_depth[samples->count] = normal;
                samples->texels[samples->count++] = texel;
            }
        }
    }
}

struct Angles {
    double median_deg = 180.0;
    double mean_deg = 180.0;
    std::size_t used = 0;
};

Angles angles_of(const Samples& samples, const NormalEncoding& encoding,
                 const Matrix3* camera_from_world, std::array<float, max_samples>* angles) noexcept {
    std::size_t count = 0;
    double sum = 0.0;
    for (std::size_t i = 0; i < samples.count; ++i) {
        Vec3 n{};
        if (!unpack(samples.texels[i], encoding.packing, &n)) {
            sum += 90.0;  // what it cannot read counts against it
            continue;
        }
        if (encoding.world_space) {
            n = rotated(*camera_from_world, n);
        }
        float cosine = 0.0F;
        for (std::size_t c = 0; c < 3; ++c) {
            cosine += n[c] * static_cast<float>(encoding.signs[c]) * samples.of_depth[i][c];
        }
        const float angle = std::acos(std::clamp(cosine, -1.0F, 1.0F)) * 57.29578F;
        (*angles)[count++] = angle;
        sum += angle;
    }
    if (count == 0) {
        return {};
    }
    float* middle = angles->data() + count / 2;
    std::nth_element(angles->data(), middle, angles->data() + count);
    return {*middle, sum / static_cast<double>(samples.count), count};
}

}  // namespace

bool is_normal_format(std::uint32_t format) noexcept {
    Vec3 ignored{};
    const std::array<std::uint8_t, 16> texel{};
    return load_texel({texel.data(), 16, 1, 1, format}, 0, 0, &ignored);
}

bool normal_of_depth(const float* depth, std::uint32_t width, std::uint32_t height,
                     const Matrix3& K, std::uint32_t x, std::uint32_t y, Vec3* normal) noexcept {
    if (x == 0 || y == 0 || x + 1 >= width || y + 1 >= height) {
        return false;
    }
    const std::size_t at = std::size_t{y} * width + x;
    const float here = depth[at];
    if (!std::isfinite(here)) {
        return false;
    }
    // One-sided differences towards the flatter side, so that an edge spoils only one of them.
    const auto slope = [&](std::size_t before, std::size_t after) noexcept {
        const float back = here - depth[before];
        const float ahead = depth[after] - here;
        if (!std::isfinite(back)) {
            return ahead;
        }
        return !std::isfinite(ahead) || std::abs(back) < std::abs(ahead) ? back : ahead;
    };
    const float dx = slope(at - 1, at + 1);
    const float dy = slope(at - width, at + width);
    if (!(std::abs(dx) < max_depth_step * here && std::abs(dy) < max_depth_step * here)) {
        return false;
    }
    // Points are z ((x - cx) / fx, (y - cy) / fy, 1); the cross product of their two derivatives.
    const auto u = static_cast<float>((x + 0.5 - K[2]) / K[0]);
    const auto v = static_cast<float>((y + 0.5 - K[5]) / K[4]);
    const float nx = -dx * static_cast<float>(K[0]);
    const float ny = -dy * static_cast<float>(K[4]);
    const float nz = here - u * nx - v * ny;
    // (nx, ny, nz) points away from the camera; on the plane n . (u, v, 1) = here / z > 0.
    const float length = std::sqrt(nx * nx + ny * ny + nz * nz);
    if (!(length > 0.0F)) {
        return false;
    }
    *normal = {-nx / length, -ny / length, -nz / length};
    return true;
}

NormalAgreement best_encoding(const Image& target, const float* depth, const Matrix3& K,
                              const Matrix3* camera_from_world) noexcept {
    // Usual axes first: OpenGL's, Direct3D's and OpenCV's camera, then every other mirror.
    static constexpr std::array<std::array<std::int8_t, 3>, 8> all_signs{
        {{1, -1, -1}, {1, -1, 1}, {1, 1, 1}, {-1, -1, -1}, {1, 1, -1}, {-1, 1, 1}, {-1, 1, -1},
         {-1, -1, 1}}};
    static thread_local Samples samples;
    static thread_local std::array<float, max_samples> angles;
    samples.count = 0;
    NormalAgreement best;
    double second_deg = 180.0;
    if (!is_normal_format(target.format)) {
        return best;
    }
    collect(target, depth, K, &samples);
    for (const bool world : {true, false}) {
        if (world && camera_from_world == nullptr) {
            continue;
        }
        for (const auto packing : {NormalPacking::xyz, NormalPacking::octahedral,
                                   NormalPacking::spheremap, NormalPacking::xy_positive_z}) {
            if (world && packing == NormalPacking::xy_positive_z) {
                continue;  // a world's normals have both signs of z
            }
            for (const auto& signs : all_signs) {
                if (world && (signs[0] != signs[1] || signs[1] != signs[2])) {
                    continue;  // the pose gives the axes; only inside out is left open
                }
                const NormalEncoding encoding{packing, world, signs};
                const Angles found = angles_of(samples, encoding, camera_from_world, &angles);
                if (found.used < min_agreement_samples) {
                    continue;
                }
                if (found.mean_deg < best.mean_deg - tie_deg) {
                    second_deg = best.mean_deg;
                    best = {encoding, found.median_deg, found.mean_deg, false, found.used, 0};
                } else if (packing != NormalPacking::xy_positive_z) {
                    // That one reads whatever faces the camera just as xyz does: no rival.
                    second_deg = std::min(second_deg, found.mean_deg);
                }
            }
        }
    }
    best.ambiguous = second_deg < best.mean_deg + tie_deg;
    return best;
}

void write_normals(const Image& target, const NormalEncoding& encoding, const float* depth,
                   const Matrix3* camera_from_world, std::uint16_t* out) noexcept {
    for (std::uint32_t y = 0; y < target.height; ++y) {
        for (std::uint32_t x = 0; x < target.width; ++x, out += 3) {
            Vec3 texel{};
            Vec3 n{};
            const bool drawn = std::isfinite(depth[std::size_t{y} * target.width + x]) &&
                               load_texel(target, x, y, &texel) &&
                               unpack(texel, encoding.packing, &n);
            if (!drawn) {
                out[0] = out[1] = out[2] = 0;
                continue;
            }
            if (encoding.world_space && camera_from_world != nullptr) {
                n = rotated(*camera_from_world, n);
            }
            for (std::size_t c = 0; c < 3; ++c) {
                out[c] = half_of(n[c] * static_cast<float>(encoding.signs[c]));
            }
        }
    }
}

void write_normals_of_depth(const float* depth, std::uint32_t width, std::uint32_t height,
                            const Matrix3& K, std::uint16_t* out) noexcept {
    for (std::uint32_t y = 0; y < height; ++y) {
        for (std::uint32_t x = 0; x < width; ++x, out += 3) {
            Vec3 n{};
            if (!normal_of_depth(depth, width, height, K, x, y, &n)) {
                n = {};
            }
            for (std::size_t c = 0; c < 3; ++c) {
                out[c] = half_of(n[c]);
            }
        }
    }
}

void describe_encoding(const NormalEncoding& encoding, char* text, std::size_t capacity) noexcept {
    static constexpr std::array<const char*, 4> names{"xyz", "xy, z >= 0", "octahedral",
                                                      "spheremap"};
    std::snprintf(text, capacity, "%s, %s space, signs %+d%+d%+d",
                  names[static_cast<std::size_t>(encoding.packing)],
                  encoding.world_space ? "world" : "camera", encoding.signs[0], encoding.signs[1],
                  encoding.signs[2]);
}

}  // namespace realmaster
