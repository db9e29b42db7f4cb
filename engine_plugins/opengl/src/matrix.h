// 4x4 matrices as OpenGL stores them, and what a projection says of the camera.
// Pure arithmetic: knows no OpenGL calls.
#pragma once

#include <array>

namespace realmaster::opengl {

// Column-major, as OpenGL stores it: element (row, column) is m[4 * column + row].
using Mat4 = std::array<double, 16>;

constexpr Mat4 identity4{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

Mat4 mat4_from(const float* values, bool transposed) noexcept;
Mat4 multiply(const Mat4& a, const Mat4& b) noexcept;
Mat4 transposed(const Mat4& m) noexcept;
// The inverse of an affine matrix (last row 0 0 0 1); false where it has none.
bool invert_affine(const Mat4& m, Mat4* inverse) noexcept;
// Whether m is a rotation (or reflection), a uniform scale and a translation.
bool is_similarity(const Mat4& m) noexcept;
// The nearest rotation to the upper 3x3 part, by Gram-Schmidt; the translation stays.
Mat4 orthonormalized(const Mat4& m) noexcept;

// A perspective projection. With w the planar distance from the camera in the game's units:
// ndc_x = fx * x / w + cx, ndc_y = fy * y / w + cy, ndc_z = a + b / w, where x and y are eye
// space's. forward: +1 where the eye looks along +z (left-handed), else -1.
struct Perspective {
    double fx = 0, fy = 0, cx = 0, cy = 0, a = 0, b = 0, forward = -1;
};

enum class MatrixKind {
    other,
    affine,       // last row 0 0 0 1: orthographic projections, models, views
    projection,   // a perspective P alone
    view_product  // P times a view or a model view, found by its structure
};

// What a matrix is. For `projection` and `view_product` fills *p, for `view_product` also the
// model view (P's inverse times m). A view product's third row is a * (fourth row) + (0, 0, 0, b)
// whatever the model, and its first two are orthogonal to the fourth but for cx and cy.
MatrixKind classify(const Mat4& m, Perspective* p, Mat4* model_view) noexcept;

// The device range of one clip volume: glClipControl and glDepthRange.
struct DepthMapping {
    bool zero_to_one = false;
    double range_near = 0, range_far = 1;
};

// w at a device depth; +inf beyond an infinite far plane.
double distance_at(const Perspective& p, const DepthMapping& mapping, double depth) noexcept;

struct Planes {
    double near_units, far_units;
    bool reversed;
};
// The clip planes; false where they are no perspective's (near <= 0 or empty).
bool planes_of(const Perspective& p, bool zero_to_one, Planes* planes) noexcept;

// From eye space's axes of p to OpenCV's: x right, y down, z forward.
Mat4 cv_from_eye(const Perspective& p) noexcept;

}  // namespace realmaster::opengl
