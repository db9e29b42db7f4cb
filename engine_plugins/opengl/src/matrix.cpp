#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace realmaster::opengl {
namespace {

// Structure is tested in relative terms: a float carries 1.2e-7, sums of four some times that.
constexpr double tight = 1e-4;
constexpr double loose = 2e-3;

using Vec3 = std::array<double, 3>;

double dot(const Vec3& a, const Vec3& b) noexcept {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

double at(const Mat4& m, int row, int column) noexcept {
    return m[static_cast<std::size_t>(4 * column + row)];
}

Vec3 row3(const Mat4& m, int row) noexcept {
    return {at(m, row, 0), at(m, row, 1), at(m, row, 2)};
}

Vec3 column3(const Mat4& m, int column) noexcept {
    return {at(m, 0, column), at(m, 1, column), at(m, 2, column)};
}

double determinant3(const Mat4& m) noexcept {
    const Vec3 a = column3(m, 0), b = column3(m, 1), c = column3(m, 2);
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) +
           a[2] * (b[0] * c[1] - b[1] * c[0]);
}

bool finite(const Mat4& m) noexcept {
    return std::all_of(m.begin(), m.end(), [](double v) { return std::isfinite(v); });
}

bool plausible(const Perspective& p) noexcept {
    return std::abs(p.fx) > 0.05 && std::abs(p.fx) < 200 && std::abs(p.fy) > 0.05 &&
           std::abs(p.fy) < 200 && std::abs(p.cx) < 4 && std::abs(p.cy) < 4 &&
           std::abs(p.a) < 10 && std::abs(p.b) > 1e-9;
}

bool is_projection(const Mat4& m, Perspective* p) noexcept {
    for (const int index : {1, 2, 3, 4, 6, 7, 12, 13, 15}) {
        if (std::abs(m[static_cast<std::size_t>(index)]) > 1e-6) return false;
    }
    const double w = m[11];
    if (std::abs(std::abs(w) - 1) > 1e-6) return false;
    *p = {m[0], m[5], m[8] / w, m[9] / w, m[10] / w, m[14], w};
    return plausible(*p);
}

// Eye space of a view product is not unique: taken is the one that looks along -z.
bool is_view_product(const Mat4& m, Perspective* p, Mat4* model_view) noexcept {
    const Vec3 r0 = row3(m, 0), r1 = row3(m, 1), r2 = row3(m, 2), r3 = row3(m, 3);
    const double length = std::sqrt(dot(r3, r3));
    if (length < 1e-6) return false;
    const double a = dot(r2, r3) / (length * length);
    Vec3 rest{};
    for (std::size_t i = 0; i < 3; ++i) rest[i] = r2[i] - a * r3[i];
    if (std::sqrt(dot(rest, rest)) > tight * length) return false;
    const double cx = dot(r0, r3) / (length * length), cy = dot(r1, r3) / (length * length);
    Vec3 x{}, y{};
    for (std::size_t i = 0; i < 3; ++i) {
        x[i] = r0[i] - cx * r3[i];
        y[i] = r1[i] - cy * r3[i];
    }
    const double fx = std::sqrt(dot(x, x)) / length, fy = std::sqrt(dot(y, y)) / length;
    if (std::abs(dot(x, y)) > loose * fx * fy * length * length) return false;
    *p = {fx, fy, cx, cy, a, at(m, 2, 3) - a * at(m, 3, 3), -1};
    if (!plausible(*p)) return false;
    const double w = at(m, 3, 3);
    for (int column = 0; column < 4; ++column) {
        const bool last = column == 3;
        const std::size_t c = static_cast<std::size_t>(4 * column), i = c / 4;
        const double xe = last ? at(m, 0, 3) - cx * w : x[i];
        const double ye = last ? at(m, 1, 3) - cy * w : y[i];
        const double we = last ? w : r3[i];
        (*model_view)[c] = xe / fx;
        (*model_view)[c + 1] = ye / fy;
        (*model_view)[c + 2] = -we;
        (*model_view)[c + 3] = last ? 1 : 0;
    }
    return true;
}

}  // namespace

Mat4 mat4_from(const float* values, bool is_transposed) noexcept {
    Mat4 m{};
    std::copy(values, values + 16, m.begin());
    return is_transposed ? transposed(m) : m;
}

Mat4 multiply(const Mat4& a, const Mat4& b) noexcept {
    Mat4 out{};
    for (std::size_t column = 0; column < 4; ++column) {
        for (std::size_t row = 0; row < 4; ++row) {
            double sum = 0;
            for (std::size_t k = 0; k < 4; ++k) sum += a[4 * k + row] * b[4 * column + k];
            out[4 * column + row] = sum;
        }
    }
    return out;
}

Mat4 transposed(const Mat4& m) noexcept {
    Mat4 out{};
    for (std::size_t i = 0; i < 16; ++i) out[4 * (i % 4) + i / 4] = m[i];
    return out;
}

bool invert_affine(const Mat4& m, Mat4* inverse) noexcept {
    const double det = determinant3(m);
    if (!std::isfinite(det) || std::abs(det) < 1e-18) return false;
    const Vec3 a = column3(m, 0), b = column3(m, 1), c = column3(m, 2);
    const auto cross = [det](const Vec3& u, const Vec3& v) {
        return Vec3{(u[1] * v[2] - u[2] * v[1]) / det, (u[2] * v[0] - u[0] * v[2]) / det,
                    (u[0] * v[1] - u[1] * v[0]) / det};
    };
    const Vec3 rows[3] = {cross(b, c), cross(c, a), cross(a, b)};
    const Vec3 t = column3(m, 3);
    Mat4 out = identity4;
    for (std::size_t row = 0; row < 3; ++row) {
        for (std::size_t column = 0; column < 3; ++column) out[4 * column + row] = rows[row][column];
        out[12 + row] = -dot(rows[row], t);
    }
    *inverse = out;
    return true;
}

bool is_similarity(const Mat4& m) noexcept {
    if (!finite(m) || std::abs(m[3]) + std::abs(m[7]) + std::abs(m[11]) > 1e-6) return false;
    if (std::abs(m[15] - 1) > 1e-6) return false;
    const Vec3 c[3] = {column3(m, 0), column3(m, 1), column3(m, 2)};
    const double size = dot(c[0], c[0]);
    if (size < 1e-12) return false;
    for (int i = 0; i < 3; ++i) {
        if (std::abs(dot(c[i], c[i]) - size) > loose * size) return false;
        if (std::abs(dot(c[i], c[(i + 1) % 3])) > loose * size) return false;
    }
    return true;
}

Mat4 orthonormalized(const Mat4& m) noexcept {
    Vec3 x = column3(m, 0), y = column3(m, 1);
    const double nx = std::sqrt(dot(x, x));
    for (double& v : x) v /= nx;
    const double along = dot(x, y);
    for (std::size_t i = 0; i < 3; ++i) y[i] -= along * x[i];
    const double ny = std::sqrt(dot(y, y));
    for (double& v : y) v /= ny;
    const double hand = determinant3(m) < 0 ? -1 : 1;
    const Vec3 z{hand * (x[1] * y[2] - x[2] * y[1]), hand * (x[2] * y[0] - x[0] * y[2]),
                 hand * (x[0] * y[1] - x[1] * y[0])};
    return {x[0], x[1], x[2], 0, y[0],  y[1],  y[2],  0,
            z[0], z[1], z[2], 0, m[12], m[13], m[14], 1};
}

MatrixKind classify(const Mat4& m, Perspective* p, Mat4* model_view) noexcept {
    if (!finite(m)) return MatrixKind::other;
    const double last = std::abs(m[3]) + std::abs(m[7]) + std::abs(m[11]);
    if (last < 1e-9) return std::abs(m[15]) > 0 ? MatrixKind::affine : MatrixKind::other;
    if (is_projection(m, p)) return MatrixKind::projection;
    return is_view_product(m, p, model_view) ? MatrixKind::view_product : MatrixKind::other;
}

double distance_at(const Perspective& p, const DepthMapping& mapping, double depth) noexcept {
    const double unit =
        (depth - mapping.range_near) / (mapping.range_far - mapping.range_near);
    const double below = (mapping.zero_to_one ? unit : 2 * unit - 1) - p.a;
    const double w = p.b / below;
    return std::isfinite(w) && w > 0 && w < 1e12 ? w : std::numeric_limits<double>::infinity();
}

bool planes_of(const Perspective& p, bool zero_to_one, Planes* planes) noexcept {
    // An infinite far plane is a pole: the rounding of p.a may put it a little beyond the range.
    const double low = zero_to_one ? 0 : -1;
    const auto plane = [&p](double ndc) {
        const double w = p.b / (ndc - p.a);
        const bool infinite = std::abs(ndc - p.a) < 2e-7 || w <= 0 || w > 1e9;
        return infinite ? std::numeric_limits<double>::infinity() : w;
    };
    const double first = plane(low), second = plane(1);
    *planes = {std::min(first, second), std::max(first, second), first > second};
    return std::isfinite(planes->near_units) && planes->far_units > planes->near_units * 1.001;
}

Mat4 cv_from_eye(const Perspective& p) noexcept {
    Mat4 out{};
    out[0] = p.fx < 0 ? -1 : 1;
    out[5] = p.fy < 0 ? 1 : -1;
    out[10] = p.forward;
    out[15] = 1;
    return out;
}

}  // namespace realmaster::opengl
