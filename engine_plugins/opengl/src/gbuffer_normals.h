// Finds out whether an image of a G-buffer holds normals, in which encoding and axes, by agreement
// with the normals that depth gives, and decodes it. Pure functions on memory.
#pragma once

#include <array>
#include <cstdint>

#include "pixels.h"

namespace realmaster::opengl {

// How two or three components hold a direction.
enum class NormalEncoding : std::uint8_t {
    xyz_unsigned,    // n / 2 + 1/2
    xyz_signed,      // n
    xy_unsigned,     // two components, z from their length
    xy_signed,
    octahedral_unsigned,
    octahedral_signed,
    spheremap,       // Lambert azimuthal equal-area
    stereographic,
    count
};
const char* name_of(NormalEncoding encoding) noexcept;

using Mat3 = std::array<float, 9>;  // row-major

// first: component where it starts. camera_from_stored: rotation or reflection to OpenCV axes.
// agreement: share of compared directions within 10 degrees; median_deg: over all of them; score: what
// fits are compared by, agreement plus the share within 3 degrees.
struct NormalFit {
    bool found = false;
    bool conclusive = false;  // the view showed enough to tell
    NormalEncoding encoding = NormalEncoding::xyz_unsigned;
    int first = 0;
    Mat3 camera_from_stored{1, 0, 0, 0, 1, 0, 0, 0, 1};
    float agreement = 0, median_deg = 180, score = 0;
};

// rgba: floats of the view's size, rows as the extent says. derived: write_normals' output. A view
// of fewer than three directions proves nothing: found stays false, conclusive too.
NormalFit fit_normals(const float* rgba, Extent size, const std::uint16_t* derived) noexcept;

// The agreement of a fit on another frame, by a few hundred pixels.
float agreement_of(const NormalFit& fit, const float* rgba, Extent size,
                   const std::uint16_t* derived) noexcept;

// f16 x 3 in OpenCV axes; 0 where inverse depth is 0 (sky) or nothing is stored.
void decode_normals(const NormalFit& fit, const float* rgba, Extent size, const float* inverse,
                    std::uint16_t* out) noexcept;

float float_from_half(std::uint16_t half) noexcept;

}  // namespace realmaster::opengl
