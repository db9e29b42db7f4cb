// What the client would refuse, found before it is sent.
#include <cmath>
#include <cstring>

#include "buffer_table.h"
#include "messages.h"

namespace realmaster {

const char* name_of(DType dtype) noexcept {
    switch (dtype) {
        case DType::u8:
            return "u1";
        case DType::u16:
            return "<u2";
        case DType::u32:
            return "<u4";
        case DType::i16:
            return "<i2";
        case DType::i32:
            return "<i4";
        case DType::f16:
            return "<f2";
        case DType::f32:
            return "<f4";
    }
    return "";
}

const char* fault_of(const BufferDesc& desc) noexcept {
    if (desc.name == nullptr || desc.name[0] == '\0' || !msgpack::is_utf8(desc.name)) {
        return "a buffer has no name";
    }
    if (desc.width < 1 || desc.width > max_side || desc.height < 1 || desc.height > max_side) {
        return "a buffer's sides must lie in 1..16384";
    }
    if (desc.components < 1 || desc.components > 4 || item_bytes(desc.dtype) == 0) {
        return "a buffer must have 1 to 4 components of a known dtype";
    }
    if (pitch_of(desc) < tight_pitch(desc) || pitch_of(desc) % item_bytes(desc.dtype) != 0) {
        return "a buffer's row_pitch must be at least a row and a multiple of its components' size";
    }
    for (const BufferRow& row : buffer_table) {
        if (std::strcmp(row.name, desc.name) == 0 &&
            (row.dtype != desc.dtype || row.components != desc.components)) {
            return "a buffer of the table has another dtype or number of components than there";
        }
    }
    return nullptr;
}

namespace {

template <std::size_t n>
bool is_finite(const std::array<double, n>& values) noexcept {
    for (const double value : values) {
        if (!std::isfinite(value)) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool is_valid(const Camera& camera) noexcept {
    return is_finite(camera.K) && is_finite(camera.world_from_camera) &&
           is_finite(camera.world_from_camera_prev) && std::isfinite(camera.near_m) &&
           camera.near_m > 0 && camera.near_m < camera.far_m;
}

}  // namespace realmaster
