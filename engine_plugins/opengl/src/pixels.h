// From what the GPU gives to what the table of buffers says: rows top to bottom, depth in metres,
// normals and motion from depth. Pure functions on memory, run off the render thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "frame_tracker.h"
#include "realmaster/types.h"

namespace realmaster::opengl {

// Images from OpenGL have their first row at the bottom, unless the game draws upside down into a
// framebuffer object (top_down).
struct Extent {
    std::uint32_t width = 0, height = 0;
    bool top_down = false;
    std::size_t row_from_top(std::uint32_t row) const noexcept {
        return std::size_t{width} * (top_down ? row : height - 1 - row);
    }
    std::size_t pixels() const noexcept { return std::size_t{width} * height; }
};

// RGBA8, flipped, alpha opaque.
void write_color(const std::uint8_t* source, Extent size, std::uint8_t* out) noexcept;

// Device depth as it was before each segment after the first, and at the end.
struct DeviceDepth {
    const float* final = nullptr;
    const float* before[max_segments] = {};
};

// What the camera says of depth and of the picture. K in pixels of `size`, OpenCV axes.
struct ViewGeometry {
    Extent size;
    double fx = 1, fy = 1, cx = 0, cy = 0;
    double metres = 1;  // per unit of the game
    int num_segments = 0;
    DepthLaw segments[max_segments];
};

// 1/z in 1/metres, flipped; 0 where nothing was drawn (sky). It is linear in device depth, and a
// plane's 1/z is linear in the pixel, which is why normals are taken from it. Each pixel is read
// by the law of the segment that drew it: the last one after which its depth had changed.
void inverse_depth(const DeviceDepth& device, const ViewGeometry& view, float* inverse) noexcept;

// metres, +inf where inverse is 0.
void write_depth(const float* inverse, Extent size, float* out) noexcept;

// f16 x 3, OpenCV axes, facing the camera; 0 in the sky. At an edge the side is taken on which the
// surface goes on straight.
void write_normals(const float* inverse, const ViewGeometry& view, std::uint16_t* out) noexcept;

// f16 x 2: where the pixel was one frame ago if it stood still; NaN where it was behind the camera.
// prev_from_now: column-major, OpenCV camera axes of the two frames, metres.
void write_motion(const float* inverse, const ViewGeometry& view, const Mat4& prev_from_now,
                  std::uint16_t* out) noexcept;

// Fills with an IEEE half: 0x7e00 is NaN.
void fill_half(std::uint16_t value, std::size_t count, std::uint16_t* out) noexcept;

std::uint16_t half_from(float value) noexcept;

}  // namespace realmaster::opengl
