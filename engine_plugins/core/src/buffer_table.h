// The rows of engine_plugins/buffers.json that a buffer's description is held against.
// A test compares the two.
#pragma once

#include "realmaster/types.h"

namespace realmaster {

struct BufferRow {
    const char* name;
    DType dtype;
    std::uint32_t components;
};

constexpr BufferRow buffer_table[] = {
    {"color", DType::u8, 4},      {"color_hdr", DType::f16, 4}, {"color_ui", DType::u8, 4},
    {"depth", DType::f32, 1},     {"depth_raw", DType::f32, 1}, {"normal", DType::f16, 3},
    {"motion", DType::f16, 2},    {"instance", DType::u32, 1},  {"semantic", DType::u8, 1},
    {"albedo", DType::u8, 3},     {"roughness", DType::u8, 1},  {"metallic", DType::u8, 1},
};

}  // namespace realmaster
