// Runs the Unreal plugin's plain maths on numbers from stdin and prints results, one call a line,
// so that a Python test can hold them against the same maths there. See test_unreal_plugin.py.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "math/convert.h"
#include "math/ring_state.h"

using namespace realmaster::unreal;

namespace {

bool read(double* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (std::scanf("%lf", values + i) != 1) {
            return false;
        }
    }
    return true;
}

Matrix read_matrix() {
    Matrix matrix;
    for (auto& row : matrix.m) {
        if (!read(row.data(), 4)) {
            break;
        }
    }
    return matrix;
}

template <class Values>
void print(const Values& values) {
    for (const double value : values) {
        std::printf("%.17g ", value);
    }
    std::printf("\n");
}

// In: projection, jittered projection, width, height. Out: K near far jitter depth(0.5 0.001 0).
void camera() {
    const Projection still = Projection::of(read_matrix()), moved = Projection::of(read_matrix());
    double size[2] = {};
    read(size, 2);
    print(still.intrinsics(size[0], size[1]));
    print(std::vector<double>{still.near_m(), still.far_m()});
    print(jitter_px(moved, still, size[0], size[1]));
    print(std::vector<double>{still.depth_m(0.5), still.depth_m(0.001), still.depth_m(0)});
}

// In: inverse view matrix, a normal. Out: world_from_camera, the normal in camera axes.
void pose() {
    const auto made = world_from_camera(read_matrix());
    double n[3] = {};
    read(n, 3);
    print(made);
    print(normal_to_camera(made, n[0], n[1], n[2]));
}

// In: K pose K_prev pose_prev jitter, px py depth. Out: motion.
void motion() {
    std::array<double, 9> K{}, K_prev{};
    std::array<double, 16> now{}, before{};
    std::array<double, 2> jitter{};
    double point[3] = {};
    read(K.data(), 9);
    read(now.data(), 16);
    read(K_prev.data(), 9);
    read(before.data(), 16);
    read(jitter.data(), 2);
    read(point, 3);
    print(StaticMotion(K, now, K_prev, before, jitter).at(point[0], point[1], point[2]));
}

// In: two encoded components, width, height. Out: pixels.
void velocity() {
    double v[4] = {};
    read(v, 4);
    print(velocity_to_px(decode_velocity(v[0]), decode_velocity(v[1]), v[2], v[3]));
}

// In: count, floats. Out: bits of their halves.
void half() {
    double count = 0;
    read(&count, 1);
    for (int i = 0; i < static_cast<int>(count); ++i) {
        double value = 0;
        read(&value, 1);
        std::printf("%u ", unsigned{to_half(static_cast<float>(value))});
    }
    std::printf("\n");
}

// Converts a 3x2 picture whose rows are padded to 64 bytes; prints each buffer's bytes in hex.
void buffers() {
    constexpr Extent size{3, 2};
    constexpr std::size_t pitch = 64;
    std::vector<std::uint8_t> color(pitch * 2, 0xEE), depth(pitch * 2, 0xEE), normal(pitch * 2, 0xEE),
        velocity_rows(pitch * 2, 0xEE), stencil(pitch * 2, 0xEE);
    const Projection projection{1, 1, 0, 0, 0, 10};
    for (std::uint32_t y = 0; y < 2; ++y) {
        for (std::uint32_t x = 0; x < 3; ++x) {
            const float device = x == 2 ? 0.0F : 0.1F / static_cast<float>(x + 2 * y + 1);
            const std::uint16_t n[4] = {32768, 32768, 65535, 0};
            const auto red = static_cast<std::uint16_t>(x == 0 ? 0 : 40000);
            const std::uint16_t v[4] = {red, 30000, 0, 0};
            const std::uint8_t c[4] = {static_cast<std::uint8_t>(x), static_cast<std::uint8_t>(y), 7, 9};
            std::memcpy(&color[y * pitch + x * 4], c, 4);
            std::memcpy(&depth[y * pitch + x * 4], &device, 4);
            std::memcpy(&normal[y * pitch + x * 8], n, 8);
            std::memcpy(&velocity_rows[y * pitch + x * 8], v, 8);
            stencil[y * pitch + x] = static_cast<std::uint8_t>(10 * y + x);
        }
    }
    const std::array<double, 16> pose{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    const StaticMotion still(projection.intrinsics(3, 2), pose, projection.intrinsics(3, 2), pose, {});
    const auto show = [](const std::vector<std::uint8_t>& bytes) {
        for (const std::uint8_t byte : bytes) {
            std::printf("%02x", unsigned{byte});
        }
        std::printf("\n");
    };
    std::vector<std::uint8_t> out(6 * 4);
    convert_color({color.data(), pitch}, size, out.data());
    show(out);
    convert_depth({depth.data(), pitch}, size, projection, out.data());
    show(out);
    convert_motion({velocity_rows.data(), pitch}, {depth.data(), pitch}, size, projection, still, true,
                   out.data());
    show(out);
    convert_motion({velocity_rows.data(), pitch}, {depth.data(), pitch}, size, projection, still, false,
                   out.data());
    show(out);
    convert_stencil({stencil.data(), pitch}, size, out.data());
    show(out);
    std::vector<std::uint8_t> normals(6 * 6);
    const double share =
        convert_normal({normal.data(), pitch}, {depth.data(), pitch}, size, pose, normals.data());
    show(normals);
    std::printf("%.3f\n", share);
}

// A ring of two: what acquire, is_late and release give, step by step.
void ring() {
    RingState state(2, 3);
    const int a = state.acquire(10), b = state.acquire(11), none = state.acquire(12);
    std::printf("%d %d %d ", a, b, none);
    std::printf("%d %d ", state.is_late(a, 13), state.is_late(a, 14));
    state.start_convert(a);
    std::printf("%d ", state.is_late(a, 99));
    state.finish_convert(a);
    std::printf("%d ", state.phase(a) == RingState::Phase::converted);
    state.release(a);
    std::printf("%d ", state.acquire(20));
    state.release(a);
    state.release(b);
    std::printf("%d %d\n", state.is_idle(), RingState(99, 1).num_entries());
}

}  // namespace

int main() {
    char word[32] = {};
    while (std::scanf("%31s", word) == 1) {
        const std::string name = word;
        if (name == "camera") camera();
        else if (name == "pose") pose();
        else if (name == "motion") motion();
        else if (name == "velocity") velocity();
        else if (name == "half") half();
        else if (name == "buffers") buffers();
        else if (name == "ring") ring();
        else return 1;
    }
    return 0;
}
