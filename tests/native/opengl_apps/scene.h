// The scene of the test programs, which tests/native/opengl_truth.py knows too: a floor, two boxes,
// and a camera whose place follows from the frame's number. The number stands in the picture's lower
// left corner, drawn with the world: red holds its low byte, green its high byte.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace test {

using Mat = std::array<float, 16>;  // column-major

inline Mat product(const Mat& a, const Mat& b) {
    Mat out{};
    for (std::size_t c = 0; c < 4; ++c) {
        for (std::size_t r = 0; r < 4; ++r) {
            for (std::size_t k = 0; k < 4; ++k) out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
        }
    }
    return out;
}

inline Mat frustum(float tan_half, float aspect, float near, float far) {
    const float f = 1 / tan_half;
    return {f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1,
            0,          0, 2 * far * near / (near - far), 0};
}

// Depth 1 at `near`, 0 at infinity; for clip control zero to one.
inline Mat reversed_infinite(float tan_half, float aspect, float near) {
    const float f = 1 / tan_half;
    return {f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, 0, -1, 0, 0, near, 0};
}

// The camera walks along -z, looks about, and is tilted down a little.
inline Mat view_of(int frame) {
    const float t = static_cast<float>(frame);
    const float yaw = 0.3F * std::sin(0.05F * t), pitch = -0.2F;
    const float x = 0.02F * t - 4.0F * std::floor(0.005F * t), y = 1.6F, z = 2.0F;
    const float cy = std::cos(yaw), sy = std::sin(yaw), cp = std::cos(pitch), sp = std::sin(pitch);
    // Rows of the rotation: right, up, backward.
    const float right[3] = {cy, 0, -sy};
    const float back[3] = {sy * cp, -sp, cy * cp};
    const float up[3] = {back[1] * right[2] - back[2] * right[1],
                         back[2] * right[0] - back[0] * right[2],
                         back[0] * right[1] - back[1] * right[0]};
    Mat out{};
    const float* rows[3] = {right, up, back};
    for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t c = 0; c < 3; ++c) out[4 * c + r] = rows[r][c];
        out[12 + r] = -(rows[r][0] * x + rows[r][1] * y + rows[r][2] * z);
    }
    out[15] = 1;
    return out;
}

// Triangles: position, normal (6 floats a vertex). The floor is fine, so that it is the world.
inline void add_quad(std::vector<float>* out, const float* o, const float* u, const float* v,
                     const float* normal) {
    const float corners[6][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 0}, {1, 1}, {0, 1}};
    for (const auto& c : corners) {
        for (int i = 0; i < 3; ++i) out->push_back(o[i] + c[0] * u[i] + c[1] * v[i]);
        for (int i = 0; i < 3; ++i) out->push_back(normal[i]);
    }
}

inline void add_box(std::vector<float>* out, const float* center, float half) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
        for (const float side : {-1.0F, 1.0F}) {
            float o[3] = {center[0] - half, center[1] - half, center[2] - half};
            float u[3] = {}, v[3] = {}, n[3] = {};
            if (side > 0) o[axis] += 2 * half;
            u[(axis + 1) % 3] = 2 * half;
            v[(axis + 2) % 3] = 2 * half;
            n[axis] = side;
            add_quad(out, o, u, v, n);
        }
    }
}

inline std::vector<float> floor_and_box() {
    std::vector<float> out;
    const float up[3] = {0, 1, 0}, u[3] = {1, 0, 0}, v[3] = {0, 0, -1};
    for (int i = -10; i < 10; ++i) {
        for (int k = -10; k < 30; ++k) {
            const float o[3] = {static_cast<float>(i), 0, static_cast<float>(-k)};
            add_quad(&out, o, u, v, up);
        }
    }
    const float center[3] = {1, 1, -5};
    add_box(&out, center, 1);
    const float left[3] = {-2, 1, -4};
    add_box(&out, left, 1);
    return out;
}

inline bool has_flag(int argc, char** argv, const char* flag) {
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], flag) == 0) return true;
    }
    return false;
}

}  // namespace test
