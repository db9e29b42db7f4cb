// The test games' scene: axis-aligned boxes over a ground slab, a camera that walks past them, and
// a projection. Analytically known: every pixel's depth, normal and color follow from this file.
// World: right-handed, +z up, metres. Camera: OpenCV's axes.
#pragma once

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

namespace scene {

struct Box {
    std::array<float, 3> low;
    std::array<float, 3> high;
    std::array<unsigned char, 3> color;
};

inline const std::vector<Box>& boxes() {
    static const std::vector<Box> all{
        {{-50, -60, -1}, {150, 60, 0}, {90, 100, 80}},
        {{12, -9, 0}, {16, -4, 6}, {200, 60, 50}},
        {{20, 3, 0}, {26, 8, 9}, {60, 90, 200}},
        {{34, -14, 0}, {40, -6, 14}, {220, 200, 90}},
        {{38, 5, 0}, {46, 15, 11}, {120, 60, 160}},
        {{60, -8, 0}, {64, 8, 5}, {60, 170, 120}},
        {{9, 2.2F, 0}, {10, 3.2F, 1}, {230, 120, 30}},
        {{8.5F, -2.6F, 0}, {9.5F, -1.6F, 1.2F}, {30, 200, 220}},
    };
    return all;
}

struct Vertex {
    float position[3];
    float normal[3];
    float color[3];
};

constexpr unsigned vertices_per_box = 36;

inline std::vector<Vertex> vertices() {
    std::vector<Vertex> out;
    for (const Box& box : boxes()) {
        for (int axis = 0; axis < 3; ++axis) {
            for (int side = 0; side < 2; ++side) {
                const int u = (axis + 1) % 3;
                const int v = (axis + 2) % 3;
                const int corners[6][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 0}, {1, 1}, {0, 1}};
                for (const auto& corner : corners) {
                    Vertex vertex{};
                    vertex.position[axis] = side != 0 ? box.high[axis] : box.low[axis];
                    vertex.position[u] = corner[0] != 0 ? box.high[u] : box.low[u];
                    vertex.position[v] = corner[1] != 0 ? box.high[v] : box.low[v];
                    vertex.normal[axis] = side != 0 ? 1.0F : -1.0F;
                    for (int c = 0; c < 3; ++c) {
                        vertex.color[c] = static_cast<float>(box.color[c]) / 255.0F;
                    }
                    out.push_back(vertex);
                }
            }
        }
    }
    return out;
}

struct Projection {
    double near_m = 0.1;
    double far_m = 200.0;
    double fov_y_deg = 60.0;
    bool reversed_z = true;
};

// world_from_camera, row-major, of a frame.
inline std::array<double, 16> pose(int frame) {
    const double yaw = 0.25 * std::sin(0.06 * frame);
    const double c = std::cos(yaw);
    const double s = std::sin(yaw);
    const double x = 1.5 * std::sin(0.04 * frame);
    return {s, 0, c, x, -c, 0, s, 0.2 * std::sin(0.1 * frame), 0, -1, 0, 1.7, 0, 0, 0, 1};
}

struct Constants {
    float clip_from_world[16];  // row-major; vectors are columns
    float normal_rotation[16];  // rows of 4: what the G-buffer's normals are turned by
    float stamp[4];             // the frame's number as a color
};

inline std::array<double, 16> product(const std::array<double, 16>& a,
                                      const std::array<double, 16>& b) {
    std::array<double, 16> out{};
    for (std::size_t r = 0; r < 4; ++r) {
        for (std::size_t c = 0; c < 4; ++c) {
            for (std::size_t k = 0; k < 4; ++k) {
                out[r * 4 + c] += a[r * 4 + k] * b[k * 4 + c];
            }
        }
    }
    return out;
}

// The inverse of a rigid transform.
inline std::array<double, 16> inverse(const std::array<double, 16>& m) {
    std::array<double, 16> out{};
    for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t c = 0; c < 3; ++c) {
            out[r * 4 + c] = m[c * 4 + r];
            out[r * 4 + 3] -= m[c * 4 + r] * m[c * 4 + 3];
        }
    }
    out[15] = 1;
    return out;
}

inline void set_stamp(int frame, Constants* out) {
    out->stamp[0] = static_cast<float>(frame & 255) / 255.0F;
    out->stamp[1] = static_cast<float>((frame >> 8) & 255) / 255.0F;
    out->stamp[2] = 77.0F / 255.0F;
    out->stamp[3] = 1.0F;
}

inline Constants constants(int frame, double aspect, const Projection& projection,
                           bool world_normals) {
    const double n = projection.near_m;
    const double f = projection.far_m;
    const double sy = 1.0 / std::tan(projection.fov_y_deg * 3.14159265358979323846 / 360.0);
    const double a = projection.reversed_z ? -n / (f - n) : f / (f - n);
    const double b = projection.reversed_z ? n * f / (f - n) : -n * f / (f - n);
    const std::array<double, 16> clip{sy / aspect, 0, 0, 0, 0, -sy, 0, 0, 0, 0, a, b, 0, 0, 1, 0};
    const std::array<double, 16> camera = inverse(pose(frame));
    const std::array<double, 16> all = product(clip, camera);
    Constants out{};
    for (std::size_t i = 0; i < 16; ++i) {
        out.clip_from_world[i] = static_cast<float>(all[i]);
    }
    for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t c = 0; c < 3; ++c) {
            // Direct3D's camera: x right, y up, z forward.
            const double view = (r == 1 ? -1.0 : 1.0) * camera[r * 4 + c];
            out.normal_rotation[r * 4 + c] =
                static_cast<float>(world_normals ? (r == c ? 1.0 : 0.0) : view);
        }
    }
    set_stamp(frame, &out);
    return out;
}

// What a test needs to work out every pixel.
inline bool describe(const char* path, int frames, const Projection& projection) {
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr) {
        return false;
    }
    std::fprintf(file, "{\"near\": %.17g, \"far\": %.17g, \"fov_y\": %.17g, \"boxes\": [",
                 projection.near_m, projection.far_m, projection.fov_y_deg);
    const char* comma = "";
    for (const Box& box : boxes()) {
        std::fprintf(file, "%s{\"low\": [%.9g, %.9g, %.9g], \"high\": [%.9g, %.9g, %.9g], ", comma,
                     box.low[0], box.low[1], box.low[2], box.high[0], box.high[1], box.high[2]);
        std::fprintf(file, "\"color\": [%d, %d, %d]}", box.color[0], box.color[1], box.color[2]);
        comma = ", ";
    }
    std::fprintf(file, "], \"poses\": [");
    for (int frame = 0; frame < frames; ++frame) {
        const std::array<double, 16> m = pose(frame);
        std::fprintf(file, "%s[", frame != 0 ? ", " : "");
        for (std::size_t i = 0; i < 16; ++i) {
            std::fprintf(file, "%s%.17g", i != 0 ? ", " : "", m[i]);
        }
        std::fprintf(file, "]");
    }
    std::fprintf(file, "]}\n");
    return std::fclose(file) == 0;
}

constexpr char shaders[] = R"(
cbuffer Frame : register(b0) {
    row_major float4x4 clip_from_world;
    row_major float4x4 normal_rotation;
    float4 stamp;
};
struct Corner {
    float4 at : SV_Position;
    float3 normal : NORMAL;
    float3 color : COLOR;
};
Corner scene_vs(float3 position : POSITION, float3 normal : NORMAL, float3 color : COLOR) {
    Corner corner;
    corner.at = mul(clip_from_world, float4(position, 1.0));
    corner.normal = mul(normal_rotation, float4(normal, 0.0)).xyz;
    corner.color = color;
    return corner;
}
struct Targets {
    float4 color : SV_Target0;
    float4 normal : SV_Target1;
};
Targets scene_ps(Corner corner) {
    Targets targets;
    targets.color = float4(corner.color, 1.0);
    targets.normal = float4(0.5 * normalize(corner.normal) + 0.5, 1.0);
    return targets;
}
float4 full_vs(uint id : SV_VertexID) : SV_Position {
    float n = id;  // 0, 1, 2 give the corners (-1, -1), (3, -1), (-1, 3)
    return float4(4.0 * n * (2.0 - n) - 1.0, 2.0 * n * (n - 1.0) - 1.0, 0.0, 1.0);
}
Texture2D picture : register(t0);
float4 copy_ps(float4 at : SV_Position) : SV_Target {
    return picture.Load(int3(at.xy * stamp.w, 0));
}
float4 stamp_ps(float4 at : SV_Position) : SV_Target {
    return float4(stamp.xyz, 1.0);
}
float4 hud_ps(float4 at : SV_Position) : SV_Target {
    return float4(1.0, 1.0, 1.0, 0.5);
}
)";

}  // namespace scene
