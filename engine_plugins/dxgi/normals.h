// Normals of a game's G-buffer: found out by comparison with the normals that depth implies.
// Pure arithmetic on mapped images; knows no graphics API.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pixels.h"

namespace realmaster {

using Vec3 = std::array<float, 3>;
using Matrix3 = std::array<double, 9>;  // row-major

// How three numbers lie in a texel. Unsigned formats hold 0..1 for -1..1.
enum class NormalPacking : std::uint8_t { xyz, xy_positive_z, octahedral, spheremap };

// An encoding: unpack, then in world space rotate into the camera, then apply the signs, which
// lead from the engine's camera axes to OpenCV's (Direct3D's: +x -y +z; OpenGL's: +x -y -z).
struct NormalEncoding {
    NormalPacking packing = NormalPacking::xyz;
    bool world_space = false;
    std::array<std::int8_t, 3> signs{1, 1, 1};
};

// How well an encoding fits: angles to depth's normals over `samples` pixels. Encodings are ranked
// by the mean, which a minority of pixels can tip: a ground that fills the view looks the same in
// all that differ only in the camera's z. ambiguous: this view does not tell the best two apart.
struct NormalAgreement {
    NormalEncoding encoding;
    double median_deg = 180.0;
    double mean_deg = 180.0;
    bool ambiguous = true;
    std::size_t samples = 0;
    std::uint32_t target = 0;  // which render target of the pass
};

constexpr double max_agreement_deg = 12.0;  // normal maps tilt true normals about so far
constexpr std::size_t min_agreement_samples = 400;

// Whether texels of the format can hold normals.
bool is_normal_format(std::uint32_t format) noexcept;

// The normal that depth implies at a pixel: unit, camera space, towards the camera; false at
// edges, sky and borders. depth: tight rows of planar metres; K row-major, in pixels.
bool normal_of_depth(const float* depth, std::uint32_t width, std::uint32_t height,
                     const Matrix3& K, std::uint32_t x, std::uint32_t y, Vec3* normal) noexcept;

// The encoding that fits this target best. camera_from_world: null where no pose is known; world
// space is then not tried.
NormalAgreement best_encoding(const Image& target, const float* depth, const Matrix3& K,
                              const Matrix3* camera_from_world) noexcept;

// f16 x 3 in camera space, tight rows; 0,0,0 where depth is sky or unknown.
void write_normals(const Image& target, const NormalEncoding& encoding, const float* depth,
                   const Matrix3* camera_from_world, std::uint16_t* out) noexcept;
void write_normals_of_depth(const float* depth, std::uint32_t width, std::uint32_t height,
                            const Matrix3& K, std::uint16_t* out) noexcept;

// "xyz world +x-y+z", for the stream's parameters.
void describe_encoding(const NormalEncoding& encoding, char* text, std::size_t capacity) noexcept;

}  // namespace realmaster
