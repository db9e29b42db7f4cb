// A plugin in about 100 lines: a tiny software renderer that streams colour, depth, normals and
// its camera.
// docs/plugin_guide.md walks through it. usage: software_renderer [PORT] [FRAMES]
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "realmaster/plugin.h"

namespace {

constexpr std::uint32_t width = 320, height = 180, frames_per_second = 30;
constexpr double focal_px = 260, camera_height_m = 1.7, sphere_radius_m = 1.0;

// The "engine": a ray caster of a ground plane and a sphere, in OpenCV's camera axes (+y down).
struct Picture {
    std::vector<std::uint8_t> color = std::vector<std::uint8_t>(width * height * 4);
    std::vector<float> depth = std::vector<float>(width * height);
    std::vector<std::uint16_t> normal = std::vector<std::uint16_t>(width * height * 3);  // halves
};

std::uint16_t to_half(double value) {  // for -1..1, rounded; enough for unit vectors
    if (std::abs(value) < 6.2e-5) return 0;
    int exponent = 0;
    const auto mantissa = std::lround(std::ldexp(std::frexp(std::abs(value), &exponent), 11));
    const auto bits = static_cast<std::uint16_t>(((exponent + 14) << 10) + (mantissa - 1024));
    return static_cast<std::uint16_t>(bits | (value < 0 ? 0x8000 : 0));
}

void render(double camera_z_m, Picture* picture) {
    const double sphere[3] = {0.3, camera_height_m - sphere_radius_m, 12 - camera_z_m};
    for (std::uint32_t index = 0; index < width * height; ++index) {
        // The ray through the pixel's centre has z = 1, so its length parameter is planar depth.
        const double ray[3] = {(index % width + 0.5 - width / 2.0) / focal_px,
                               (index / width + 0.5 - height / 2.0) / focal_px, 1};
        double depth = std::numeric_limits<double>::infinity();  // sky
        double normal[3] = {0, 0, 0}, shade = 1;
        if (ray[1] > 0) {  // the ground, with a pattern that stands in the world and fades away
            depth = camera_height_m / ray[1];
            normal[1] = -1;
            const double x = ray[0] * depth, z = depth + camera_z_m;
            shade = 0.5 + 0.4 * std::sin(2 * x) * std::sin(2 * z) / (1 + 0.02 * depth * depth);
        }
        double a = 0, b = 0, c = -sphere_radius_m * sphere_radius_m;
        for (int axis = 0; axis < 3; ++axis) {
            a += ray[axis] * ray[axis];
            b += ray[axis] * sphere[axis];
            c += sphere[axis] * sphere[axis];
        }
        const double under_root = b * b - a * c, nearest = (b - std::sqrt(under_root)) / a;
        if (under_root > 0 && nearest > 0.1 && nearest < depth) {
            depth = nearest;
            for (int axis = 0; axis < 3; ++axis) {
                normal[axis] = (ray[axis] * depth - sphere[axis]) / sphere_radius_m;
            }
            shade = 0.2 + 0.8 * std::fmax(0, -0.8 * normal[1] - 0.6 * normal[2]);
        }
        const bool is_sky = std::isinf(depth);
        picture->depth[index] = static_cast<float>(depth);
        for (std::uint32_t axis = 0; axis < 3; ++axis) {
            picture->normal[index * 3 + axis] = to_half(normal[axis]);
            const double tint = is_sky ? 0.5 + 0.2 * axis : shade * (1 - 0.15 * axis);
            picture->color[index * 4 + axis] = static_cast<std::uint8_t>(255 * std::fmin(1, tint));
        }
        picture->color[index * 4 + 3] = 255;
    }
}

}  // namespace

int main(int argc, char** argv) {
    using namespace realmaster;
    Config config;
    config.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 5570);
    config.engine = config.plugin = config.game = "software renderer";
    config.engine_version = config.plugin_version = "1";
    const BufferDesc buffers[] = {{"color", width, height, DType::u8, 4},
                                  {"depth", width, height, DType::f32, 1},
                                  {"normal", width, height, DType::f16, 3}};
    for (const BufferDesc& desc : buffers) {
        config.streams.push_back({desc.name, width, height, desc.dtype, desc.components, {}});
    }
    Plugin plugin(config);
    const int num_frames = argc > 2 ? std::atoi(argv[2]) : 1 << 30;
    Picture picture;
    FrameInfo info;
    for (int frame = 0; frame < num_frames; ++frame) {
        const double camera_z_m = 0.1 * frame;
        render(camera_z_m, &picture);
        info.frame_id = static_cast<std::uint64_t>(frame);
        info.t_sim_ns = std::int64_t{frame} * 1'000'000'000 / frames_per_second;
        info.render_size = info.output_size = {width, height};
        info.has_camera = true;
        info.camera.K = {focal_px, 0, width / 2.0, 0, focal_px, height / 2.0, 0, 0, 1};
        info.camera.world_from_camera_prev = info.camera.world_from_camera;
        // Columns: the camera's right, down, forward and place in a world with +z up.
        info.camera.world_from_camera = {1, 0, 0, 0, 0, 0, 1, camera_z_m,
                                         0, -1, 0, camera_height_m, 0, 0, 0, 1};
        info.flags = frame == 0 ? frame_flags::cut : frame_flags::none;
        if (Slot* slot = plugin.begin(info)) {  // once per frame, also where it will be dropped
            const void* pixels[] = {picture.color.data(), picture.depth.data(),
                                    picture.normal.data()};
            for (std::size_t index = 0; index < 3; ++index) {
                if (std::uint8_t* memory = plugin.add(slot, buffers[index])) {
                    std::memcpy(memory, pixels[index], bytes_of(buffers[index]));
                }
            }
            plugin.submit(slot);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1000 / frames_per_second));
    }
}
