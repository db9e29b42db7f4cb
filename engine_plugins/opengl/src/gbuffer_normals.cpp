#include "gbuffer_normals.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace realmaster::opengl {
namespace {

constexpr std::size_t fit_samples = 2048;
constexpr std::size_t check_samples = 512;
constexpr float agree_cos = 0.98481F;  // 10 degrees
constexpr float exact_cos = 0.99863F;  // 3 degrees: tells normals from colors that go with them
constexpr float inlier_cos = 0.9F;
constexpr float wanted_agreement = 0.6F;
// On walls along the axes several encodings read alike; the plainer one, tried first, is kept.
constexpr float tie = 0.04F;
// Directions that fewer samples show are noise of edges.
constexpr int min_in_bin = 8;
// Determinant of the directions' mean outer product, 1/27 for three at right angles that weigh the
// same. Two directions fit too much: any image in which they lie at the right angle.
constexpr double diversity = 0.008;

struct Vec {
    float x, y, z;
};

float dot(const Vec& a, const Vec& b) noexcept { return a.x * b.x + a.y * b.y + a.z * b.z; }

Vec turned(const Mat3& m, const Vec& v) noexcept {
    return {m[0] * v.x + m[1] * v.y + m[2] * v.z, m[3] * v.x + m[4] * v.y + m[5] * v.z,
            m[6] * v.x + m[7] * v.y + m[8] * v.z};
}

Vec unit(const Vec& v) noexcept {
    const float length = std::sqrt(dot(v, v));
    return length > 1e-6F ? Vec{v.x / length, v.y / length, v.z / length} : Vec{0, 0, 0};
}

// Decodes one pixel; (0,0,0) where no direction can be stored like that.
Vec decoded(NormalEncoding encoding, const float* c) noexcept {
    const float sx = 2 * c[0] - 1, sy = 2 * c[1] - 1;
    switch (encoding) {
        case NormalEncoding::xyz_unsigned:
        case NormalEncoding::xyz_signed: {
            const bool plain = encoding == NormalEncoding::xyz_signed;
            const Vec v = plain ? Vec{c[0], c[1], c[2]} : Vec{sx, sy, 2 * c[2] - 1};
            const float length = dot(v, v);
            return length > 0.9F && length < 1.12F ? unit(v) : Vec{0, 0, 0};
        }
        case NormalEncoding::xy_unsigned:
        case NormalEncoding::xy_signed: {
            const bool plain = encoding == NormalEncoding::xy_signed;
            const float x = plain ? c[0] : sx, y = plain ? c[1] : sy;
            const float rest = 1 - x * x - y * y;
            return rest > -0.05F ? unit({x, y, std::sqrt(std::max(0.0F, rest))}) : Vec{0, 0, 0};
        }
        case NormalEncoding::octahedral_unsigned:
        case NormalEncoding::octahedral_signed: {
            const bool plain = encoding == NormalEncoding::octahedral_signed;
            float x = plain ? c[0] : sx, y = plain ? c[1] : sy;
            if (std::abs(x) > 1 || std::abs(y) > 1) return {0, 0, 0};
            const float z = 1 - std::abs(x) - std::abs(y);
            if (z < 0) {
                const float was = x;
                x = (1 - std::abs(y)) * (was >= 0 ? 1.0F : -1.0F);
                y = (1 - std::abs(was)) * (y >= 0 ? 1.0F : -1.0F);
            }
            return unit({x, y, z});
        }
        case NormalEncoding::spheremap: {
            const float x = 2 * sx, y = 2 * sy, f = x * x + y * y;
            if (f > 4) return {0, 0, 0};
            const float g = std::sqrt(1 - f / 4);
            return {x * g, y * g, 1 - f / 2};
        }
        case NormalEncoding::stereographic: {
            const float x = 1.7777F * sx, y = 1.7777F * sy, g = 2 / (1 + x * x + y * y);
            return {g * x, g * y, g - 1};
        }
        case NormalEncoding::count:
            break;
    }
    return {0, 0, 0};
}

struct Pair {
    Vec stored, derived;
    float weight = 1;
};

// Directions in steps of about 30 degrees.
std::size_t bin_of(const Vec& v) noexcept {
    const auto step = [](float c) { return static_cast<std::size_t>(std::lround(2 * c) + 2); };
    return (step(v.x) * 5 + step(v.y)) * 5 + step(v.z);
}

// Gives every direction that is seen the same weight, however much of the picture it fills, so
// that a wall counts as much as the ground. Returns how many samples weigh anything.
std::size_t balance(Pair* pairs, std::size_t num) noexcept {
    int counts[125] = {};
    for (std::size_t i = 0; i < num; ++i) ++counts[bin_of(pairs[i].derived)];
    std::size_t kept = 0;
    for (std::size_t i = 0; i < num; ++i) {
        const int count = counts[bin_of(pairs[i].derived)];
        if (count < min_in_bin) continue;
        pairs[kept] = pairs[i];
        pairs[kept++].weight = 1.0F / static_cast<float>(count);
    }
    return kept;
}

// The rotation that turns the stored onto the derived: Horn, "Closed-form solution of absolute
// orientation using unit quaternions" (1987), by power iteration on his 4x4 matrix.
Mat3 rotation_of(const Pair* pairs, std::size_t num) noexcept {
    double s[3][3] = {};
    for (std::size_t i = 0; i < num; ++i) {
        const float a[3] = {pairs[i].stored.x, pairs[i].stored.y, pairs[i].stored.z};
        const float b[3] = {pairs[i].derived.x, pairs[i].derived.y, pairs[i].derived.z};
        for (int r = 0; r < 3; ++r) {
            for (int k = 0; k < 3; ++k) s[r][k] += static_cast<double>(pairs[i].weight * a[r] * b[k]);
        }
    }
    double shift = 1e-6;  // makes all eigenvalues positive
    for (std::size_t i = 0; i < num; ++i) shift += 2 * static_cast<double>(pairs[i].weight);
    const double n[4][4] = {
        {s[0][0] + s[1][1] + s[2][2] + shift, s[1][2] - s[2][1], s[2][0] - s[0][2],
         s[0][1] - s[1][0]},
        {s[1][2] - s[2][1], s[0][0] - s[1][1] - s[2][2] + shift, s[0][1] + s[1][0],
         s[2][0] + s[0][2]},
        {s[2][0] - s[0][2], s[0][1] + s[1][0], -s[0][0] + s[1][1] - s[2][2] + shift,
         s[1][2] + s[2][1]},
        {s[0][1] - s[1][0], s[2][0] + s[0][2], s[1][2] + s[2][1],
         -s[0][0] - s[1][1] + s[2][2] + shift}};
    double q[4] = {0.6, 0.5, 0.4, 0.3};
    for (int iteration = 0; iteration < 400; ++iteration) {
        double next[4] = {}, length = 0;
        for (int r = 0; r < 4; ++r) {
            for (int k = 0; k < 4; ++k) next[r] += n[r][k] * q[k];
            length += next[r] * next[r];
        }
        for (int r = 0; r < 4; ++r) q[r] = next[r] / std::sqrt(length);
    }
    const double w = q[0], x = q[1], y = q[2], z = q[3];
    const double m[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                         2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                         2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)};
    Mat3 out{};
    for (std::size_t i = 0; i < 9; ++i) out[i] = static_cast<float>(m[i]);
    return out;
}

template <std::size_t N>
std::size_t sample(NormalEncoding encoding, int first, const float* rgba, Extent size,
                   const std::uint16_t* derived, Pair (&pairs)[N], std::size_t* seen) noexcept {
    const std::size_t step = std::max<std::size_t>(1, size.pixels() / N);
    std::size_t num = 0;
    *seen = 0;
    for (std::size_t i = step / 2; i < size.pixels() && num < N; i += step) {
        const Vec d{float_from_half(derived[3 * i]), float_from_half(derived[3 * i + 1]),
                    float_from_half(derived[3 * i + 2])};
        if (dot(d, d) < 0.5F) continue;
        ++*seen;
        const auto row = static_cast<std::uint32_t>(i / size.width);
        const std::size_t at = size.row_from_top(row) + i % size.width;
        const Vec stored = decoded(encoding, rgba + 4 * at + first);
        if (dot(stored, stored) > 0.5F) pairs[num++] = {stored, d, 1};
    }
    return num;
}

bool diverse(const Pair* pairs, std::size_t num) noexcept {
    double m[3][3] = {}, all = 0;
    for (std::size_t i = 0; i < num; ++i) {
        const float d[3] = {pairs[i].derived.x, pairs[i].derived.y, pairs[i].derived.z};
        all += static_cast<double>(pairs[i].weight);
        for (int r = 0; r < 3; ++r) {
            for (int k = 0; k < 3; ++k) {
                m[r][k] += static_cast<double>(pairs[i].weight * d[r] * d[k]);
            }
        }
    }
    const double det = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
                       m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                       m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
    return all > 0 && det > diversity * all * all * all;
}

// Fits a rotation, then once more to those that agree; fills agreement and median.
void fit_rotation(Pair* pairs, std::size_t num, float coverage, NormalFit* fit) noexcept {
    Pair inliers[fit_samples];
    Mat3 turn = rotation_of(pairs, num);
    for (int round = 0; round < 2; ++round) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < num; ++i) {
            if (dot(turned(turn, pairs[i].stored), pairs[i].derived) > inlier_cos) {
                inliers[kept++] = pairs[i];
            }
        }
        if (kept < num / 4) break;
        turn = rotation_of(inliers, kept);
    }
    float cosines[fit_samples];
    float agreeing = 0, exact = 0, all = 0;
    for (std::size_t i = 0; i < num; ++i) {
        cosines[i] = dot(turned(turn, pairs[i].stored), pairs[i].derived);
        all += pairs[i].weight;
        if (cosines[i] > agree_cos) agreeing += pairs[i].weight;
        if (cosines[i] > exact_cos) exact += pairs[i].weight;
    }
    std::nth_element(cosines, cosines + num / 2, cosines + num);
    fit->camera_from_stored = turn;
    fit->agreement = coverage * agreeing / all;
    fit->score = fit->agreement + coverage * exact / all;
    fit->median_deg =
        std::acos(std::clamp(cosines[num / 2], -1.0F, 1.0F)) * 57.29578F;
}

}  // namespace

const char* name_of(NormalEncoding encoding) noexcept {
    constexpr const char* names[] = {"xyz_unsigned",        "xyz_signed",        "xy_unsigned",
                                     "xy_signed",           "octahedral_unsigned", "octahedral_signed",
                                     "spheremap",           "stereographic"};
    return encoding < NormalEncoding::count ? names[static_cast<std::size_t>(encoding)] : "none";
}

float float_from_half(std::uint16_t half) noexcept {
    const std::uint32_t magnitude = half & 0x7fffU;
    if (magnitude < 0x400U) return 0;
    const std::uint32_t bits =
        ((half & 0x8000U) << 16) | ((magnitude << 13) + 0x38000000U);
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

NormalFit fit_normals(const float* rgba, Extent size, const std::uint16_t* derived) noexcept {
    static thread_local Pair pairs[fit_samples];
    NormalFit best;
    bool conclusive = false;
    for (int e = 0; e < static_cast<int>(NormalEncoding::count); ++e) {
        const auto encoding = static_cast<NormalEncoding>(e);
        const bool three = encoding <= NormalEncoding::xyz_signed;
        for (int first = 0; first <= (three ? 1 : 2); ++first) {
            std::size_t seen = 0;
            std::size_t num = sample(encoding, first, rgba, size, derived, pairs, &seen);
            if (num < 64 || 5 * num < 4 * seen) continue;
            const float coverage = static_cast<float>(num) / static_cast<float>(seen);
            num = balance(pairs, num);
            if (num == 0 || !diverse(pairs, num)) continue;
            conclusive = true;
            for (const bool mirrored : {false, true}) {
                for (std::size_t i = 0; mirrored && i < num; ++i) pairs[i].stored.z *= -1;
                NormalFit fit;
                fit.encoding = encoding;
                fit.first = first;
                fit_rotation(pairs, num, coverage, &fit);
                for (std::size_t i = 2; mirrored && i < 9; i += 3) fit.camera_from_stored[i] *= -1;
                if (fit.score > best.score + tie) best = fit;
            }
        }
    }
    best.found = best.agreement >= wanted_agreement;
    best.conclusive = conclusive;
    return best;
}

float agreement_of(const NormalFit& fit, const float* rgba, Extent size,
                   const std::uint16_t* derived) noexcept {
    Pair pairs[check_samples];
    std::size_t seen = 0, agreeing = 0;
    const std::size_t num = sample(fit.encoding, fit.first, rgba, size, derived, pairs, &seen);
    for (std::size_t i = 0; i < num; ++i) {
        const Vec v = turned(fit.camera_from_stored, pairs[i].stored);
        if (dot(v, pairs[i].derived) > agree_cos) ++agreeing;
    }
    return seen == 0 ? 0 : static_cast<float>(agreeing) / static_cast<float>(seen);
}

void decode_normals(const NormalFit& fit, const float* rgba, Extent size, const float* inverse,
                    std::uint16_t* out) noexcept {
    for (std::uint32_t row = 0; row < size.height; ++row) {
        const float* source = rgba + 4 * size.row_from_top(row) + fit.first;
        for (std::uint32_t i = 0; i < size.width; ++i) {
            const std::size_t at = std::size_t{size.width} * row + i;
            const Vec stored =
                inverse[at] > 0 ? decoded(fit.encoding, source + 4 * i) : Vec{0, 0, 0};
            const Vec v = turned(fit.camera_from_stored, stored);
            out[3 * at] = half_from(v.x);
            out[3 * at + 1] = half_from(v.y);
            out[3 * at + 2] = half_from(v.z);
        }
    }
}

}  // namespace realmaster::opengl
