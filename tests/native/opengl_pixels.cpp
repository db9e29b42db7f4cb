// The OpenGL plugin's normals and motion of a tilted plane below a sky, in pictures narrower, as
// wide and wider than the pieces that rows are computed in. Prints what is wrong; exits with 1.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "pixels.h"

using namespace realmaster::opengl;

namespace {

int failures = 0;

void check(bool good, const char* what, std::uint32_t width, std::uint32_t x, std::uint32_t y) {
    if (!good && ++failures <= 20) std::printf("%s: width %u, pixel %u %u\n", what, width, x, y);
}

double value_of(std::uint16_t half) {
    const int exponent = (half >> 10) & 31, mantissa = half & 1023;
    const double size = exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                        : exponent == 0 ? std::ldexp(mantissa, -24)
                                        : std::ldexp(1024 + mantissa, exponent - 25);
    return (half & 0x8000) != 0 ? -size : size;
}

void halves_round_to_nearest_even() {
    const struct {
        float value;
        std::uint16_t half;
    } known[] = {{0, 0}, {1, 0x3c00}, {-2, 0xc000}, {65504, 0x7bff}, {65520, 0x7c00},
                 {1.0F + 1.0F / 2048, 0x3c00}, {1.0F + 3.0F / 2048, 0x3c02}, {-1e9F, 0xfc00},
                 {1e-9F, 0}, {0x1p-14F, 0x0400}, {NAN, 0x7e00}};
    for (const auto& [value, half] : known) check(half_from(value) == half, "half", 0, half, 0);
}

// 1/z of the plane a u + b v + c at the pixel's ray, zero above row `horizon`.
void plane_and_sky(std::uint32_t width) {
    constexpr std::uint32_t height = 24, horizon = 8;
    ViewGeometry view;
    view.size = {width, height, false};
    view.fx = 300;
    view.fy = 320;
    view.cx = width / 2.0 - 3.25;
    view.cy = 6.5;
    const double a = 0.05, b = 0.4, c = 0.2;
    std::vector<float> inverse(std::size_t{width} * height);
    const auto ray_x = [&](std::uint32_t x) { return (x + 0.5 - view.cx) / view.fx; };
    const auto ray_y = [&](std::uint32_t y) { return (y + 0.5 - view.cy) / view.fy; };
    for (std::uint32_t y = horizon; y < height; ++y) {
        for (std::uint32_t x = 0; x < width; ++x) {
            inverse[std::size_t{y} * width + x] =
                static_cast<float>(a * ray_x(x) + b * ray_y(y) + c);
        }
    }
    std::vector<std::uint16_t> normal(3 * inverse.size(), 7), motion(2 * inverse.size(), 7);
    write_normals(inverse.data(), view, normal.data());
    Mat4 step = identity4;  // the camera went forward and aside
    step[12] = 0.05;
    step[14] = 0.2;
    write_motion(inverse.data(), view, step, motion.data());
    const double length = -std::sqrt(a * a + b * b + c * c);
    for (std::uint32_t y = 0; y < height; ++y) {
        for (std::uint32_t x = 0; x < width; ++x) {
            const std::size_t at = std::size_t{y} * width + x;
            const std::uint16_t* n = &normal[3 * at];
            const double q = y < horizon ? 0 : a * ray_x(x) + b * ray_y(y) + c;
            const double z = 1 + 0.2 * q;
            const double mx = ((ray_x(x) + 0.05 * q) / z - ray_x(x)) * view.fx;
            const double my = (ray_y(y) / z - ray_y(y)) * view.fy;
            check(std::abs(value_of(motion[2 * at]) - mx) < 2e-3 * std::abs(mx) + 1e-3 &&
                      std::abs(value_of(motion[2 * at + 1]) - my) < 2e-3 * std::abs(my) + 1e-3,
                  "motion", width, x, y);
            if (y < horizon) {
                check(n[0] == 0 && n[1] == 0 && n[2] == 0, "sky", width, x, y);
                continue;
            }
            check(std::abs(value_of(n[0]) - a / length) < 4e-3 &&
                      std::abs(value_of(n[1]) - b / length) < 4e-3 &&
                      std::abs(value_of(n[2]) - c / length) < 4e-3,
                  "normal", width, x, y);
        }
    }
}

}  // namespace

int main() {
    halves_round_to_nearest_even();
    for (const std::uint32_t width : {5U, 511U, 512U, 513U, 640U, 1281U}) plane_and_sky(width);
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
