// Half floats without the engine: IEEE 754 binary16 from binary32, rounded to nearest even.
// Knows nothing but bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace realmaster::unreal {

inline std::uint16_t to_half(float value) noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    const auto sign = static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) {
        return static_cast<std::uint16_t>(sign | 0x7E00U);  // NaN
    }
    if (magnitude >= 0x477FF000U) {
        return static_cast<std::uint16_t>(sign | 0x7C00U);  // 65520 and more round to infinity
    }
    if (magnitude < 0x38800000U) {  // below 2^-14: subnormal, a multiple of 2^-24
        float steps = 0.0F;
        std::memcpy(&steps, &magnitude, sizeof(steps));
        steps += 0.5F;  // 0.5 has its last bit at 2^-24, so the hardware rounds there
        std::uint32_t rounded = 0;
        std::memcpy(&rounded, &steps, sizeof(rounded));
        return static_cast<std::uint16_t>(sign | (rounded - 0x3F000000U));
    }
    const std::uint32_t odd = (magnitude >> 13U) & 1U;
    return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000U + 0xFFFU + odd) >> 13U));
}

}  // namespace realmaster::unreal
