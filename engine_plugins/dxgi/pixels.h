// From a graphics API's texels to the buffers of engine_plugins/buffers.json. Pure: formats are
// DXGI's numbers, images are mapped memory with a row pitch. Knows no graphics API.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "projection.h"

namespace realmaster {

// The DXGI_FORMAT values that are read; the numbers are Microsoft's ABI.
namespace dxgi_format {
constexpr std::uint32_t unknown = 0;
constexpr std::uint32_t r32g32b32a32_float = 2;
constexpr std::uint32_t r16g16b16a16_typeless = 9;
constexpr std::uint32_t r16g16b16a16_float = 10;
constexpr std::uint32_t r16g16b16a16_unorm = 11;
constexpr std::uint32_t r16g16b16a16_snorm = 13;
constexpr std::uint32_t r32g8x24_typeless = 19;
constexpr std::uint32_t d32_float_s8x24_uint = 20;
constexpr std::uint32_t r10g10b10a2_typeless = 23;
constexpr std::uint32_t r10g10b10a2_unorm = 24;
constexpr std::uint32_t r8g8b8a8_typeless = 27;
constexpr std::uint32_t r8g8b8a8_unorm = 28;
constexpr std::uint32_t r8g8b8a8_unorm_srgb = 29;
constexpr std::uint32_t r8g8b8a8_snorm = 31;
constexpr std::uint32_t r16g16_float = 34;
constexpr std::uint32_t r16g16_unorm = 35;
constexpr std::uint32_t r16g16_snorm = 37;
constexpr std::uint32_t r32_typeless = 39;
constexpr std::uint32_t d32_float = 40;
constexpr std::uint32_t r32_float = 41;
constexpr std::uint32_t r24g8_typeless = 44;
constexpr std::uint32_t d24_unorm_s8_uint = 45;
constexpr std::uint32_t r16_typeless = 53;
constexpr std::uint32_t d16_unorm = 55;
constexpr std::uint32_t r8_uint = 62;
constexpr std::uint32_t b8g8r8a8_unorm = 87;
constexpr std::uint32_t b8g8r8a8_typeless = 90;
constexpr std::uint32_t b8g8r8a8_unorm_srgb = 91;
}  // namespace dxgi_format

// A mapped texture. data is null where there is none.
struct Image {
    const std::uint8_t* data = nullptr;
    std::size_t row_pitch = 0;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t format = dxgi_format::unknown;

    [[nodiscard]] const std::uint8_t* row(std::uint32_t y) const noexcept {
        return data + row_pitch * y;
    }
};

// How depth lies in mapped memory: f32, or 24 bits of a u32, low as Direct3D says.
enum class DepthLayout : std::uint8_t { f32, u24_low, u16 };

// What one texel of a depth format's depth plane is; false where the format holds no depth.
bool depth_layout_of(std::uint32_t format, DepthLayout* layout) noexcept;

// Whether write_color reads the format.
bool is_color_format(std::uint32_t format) noexcept;

// RGBA8, tight rows of 4 * width bytes, alpha 255. Ten-bit color keeps its high eight bits.
void write_color(const Image& image, std::uint8_t* out) noexcept;

// Device depth as f32, tight rows.
void write_device_depth(const Image& image, DepthLayout layout, float* out) noexcept;

// Planar metres: +inf sky, NaN unknown.
void write_metres(const float* device, std::size_t count, const Projection& projection,
                  float* out) noexcept;

// Class ids by a table over the masked stencil value, which is 0..15; 255 is "no class".
struct StencilClasses {
    std::uint8_t mask = 0x0F;
    std::array<std::uint8_t, 16> class_of{};
};
void write_semantic(const Image& stencil, const StencilClasses& classes,
                    std::uint8_t* out) noexcept;

// IEEE 754 half, rounded to nearest even.
std::uint16_t half_of(float value) noexcept;
float float_of_half(std::uint16_t half) noexcept;

}  // namespace realmaster
