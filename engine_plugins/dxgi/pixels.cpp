// See pixels.h.
#include "pixels.h"

#include <algorithm>
#include <cstring>

namespace realmaster {

namespace f = dxgi_format;

bool depth_layout_of(std::uint32_t format, DepthLayout* layout) noexcept {
    switch (format) {
        case f::d32_float:
        case f::r32_typeless:
        case f::r32_float:
        case f::r32g8x24_typeless:
        case f::d32_float_s8x24_uint:
            *layout = DepthLayout::f32;
            return true;
        case f::r24g8_typeless:
        case f::d24_unorm_s8_uint:
            *layout = DepthLayout::u24_low;
            return true;
        case f::r16_typeless:
        case f::d16_unorm:
            *layout = DepthLayout::u16;
            return true;
        default:
            return false;
    }
}

bool is_color_format(std::uint32_t format) noexcept {
    switch (format) {
        case f::r8g8b8a8_typeless:
        case f::r8g8b8a8_unorm:
        case f::r8g8b8a8_unorm_srgb:
        case f::b8g8r8a8_typeless:
        case f::b8g8r8a8_unorm:
        case f::b8g8r8a8_unorm_srgb:
        case f::r10g10b10a2_typeless:
        case f::r10g10b10a2_unorm:
            return true;
        default:
            return false;
    }
}

void write_color(const Image& image, std::uint8_t* out) noexcept {
    const bool swapped = image.format == f::b8g8r8a8_unorm ||
                         image.format == f::b8g8r8a8_unorm_srgb ||
                         image.format == f::b8g8r8a8_typeless;
    const bool ten_bits =
        image.format == f::r10g10b10a2_unorm || image.format == f::r10g10b10a2_typeless;
    for (std::uint32_t y = 0; y < image.height; ++y) {
        const std::uint8_t* in = image.row(y);
        for (std::uint32_t x = 0; x < image.width; ++x, in += 4, out += 4) {
            std::uint32_t texel = 0;
            std::memcpy(&texel, in, 4);
            if (ten_bits) {
                texel = ((texel >> 2U) & 0xFFU) | ((texel >> 4U) & 0xFF00U) |
                        ((texel >> 6U) & 0xFF0000U);
            } else if (swapped) {
                texel = (texel & 0xFF00U) | ((texel >> 16U) & 0xFFU) | ((texel & 0xFFU) << 16U);
            }
            texel |= 0xFF000000U;
            std::memcpy(out, &texel, 4);
        }
    }
}

void write_device_depth(const Image& image, DepthLayout layout, float* out) noexcept {
    constexpr double scale_24 = 1.0 / 16777215.0;
    constexpr double scale_16 = 1.0 / 65535.0;
    for (std::uint32_t y = 0; y < image.height; ++y, out += image.width) {
        const std::uint8_t* in = image.row(y);
        switch (layout) {
            case DepthLayout::f32:
                std::memcpy(out, in, std::size_t{image.width} * 4);
                break;
            case DepthLayout::u24_low:
                for (std::uint32_t x = 0; x < image.width; ++x) {
                    std::uint32_t texel = 0;
                    std::memcpy(&texel, in + std::size_t{x} * 4, 4);
                    out[x] = static_cast<float>((texel & 0xFFFFFFU) * scale_24);
                }
                break;
            case DepthLayout::u16:
                for (std::uint32_t x = 0; x < image.width; ++x) {
                    std::uint16_t texel = 0;
                    std::memcpy(&texel, in + std::size_t{x} * 2, 2);
                    out[x] = static_cast<float>(texel * scale_16);
                }
                break;
        }
    }
}

void write_metres(const float* device, std::size_t count, const Projection& projection,
                  float* out) noexcept {
    const DepthToMetres to_metres(projection);
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = to_metres(device[i]);
    }
}

void write_semantic(const Image& stencil, const StencilClasses& classes,
                    std::uint8_t* out) noexcept {
    for (std::uint32_t y = 0; y < stencil.height; ++y) {
        const std::uint8_t* in = stencil.row(y);
        for (std::uint32_t x = 0; x < stencil.width; ++x) {
            *out++ = classes.class_of[in[x] & classes.mask & 0x0FU];
        }
    }
}

std::uint16_t half_of(float value) noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = (bits >> 16U) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x7F800000U) {  // inf, NaN
        return static_cast<std::uint16_t>(sign | 0x7C00U | (magnitude > 0x7F800000U ? 0x200U : 0U));
    }
    if (magnitude >= 0x477FF000U) {  // rounds to more than the largest half
        return static_cast<std::uint16_t>(sign | 0x7C00U);
    }
    std::uint32_t mantissa = 0;
    std::uint32_t dropped_bits = 13;
    std::uint32_t base = 0;
    if (magnitude >= 0x38800000U) {  // normal half
        mantissa = magnitude - 0x38000000U;
    } else if (magnitude >= 0x33000000U) {  // subnormal half
        const std::uint32_t exponent = magnitude >> 23U;
        dropped_bits = 126U - exponent;
        mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
    } else {
        return static_cast<std::uint16_t>(sign);
    }
    base = mantissa >> dropped_bits;
    const std::uint32_t rest = mantissa & ((1U << dropped_bits) - 1U);
    const std::uint32_t middle = 1U << (dropped_bits - 1U);
    if (rest > middle || (rest == middle && (base & 1U) != 0)) {
        ++base;
    }
    return static_cast<std::uint16_t>(sign | base);
}

float float_of_half(std::uint16_t half) noexcept {
    const std::uint32_t sign = (half & 0x8000U) << 16U;
    const std::uint32_t exponent = (half >> 10U) & 0x1FU;
    const std::uint32_t mantissa = half & 0x3FFU;
    std::uint32_t bits = 0;
    if (exponent == 0x1FU) {
        bits = sign | 0x7F800000U | (mantissa << 13U);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112U) << 23U) | (mantissa << 13U);
    } else {
        const float value = static_cast<float>(mantissa) * (1.0F / 16777216.0F);
        std::memcpy(&bits, &value, 4);
        bits |= sign;
    }
    float value = 0;
    std::memcpy(&value, &bits, 4);
    return value;
}

}  // namespace realmaster
