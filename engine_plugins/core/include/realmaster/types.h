// What a plugin says to the core: buffers, cameras, frames, causes, settings.
// Plain data; knows no sockets and no engine. PROTOCOL.md says what each field means.
// Camera axes are OpenCV's (+x right, +y down, +z forward), metres, rows top to bottom.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace realmaster {

enum class DType : std::uint8_t { u8, u16, u32, i16, i32, f16, f32 };

// Bytes of one component.
constexpr std::size_t item_bytes(DType dtype) noexcept {
    switch (dtype) {
        case DType::u8:
            return 1;
        case DType::u16:
        case DType::i16:
        case DType::f16:
            return 2;
        case DType::u32:
        case DType::i32:
        case DType::f32:
            return 4;
    }
    return 0;
}

// One buffer of one frame. Its name is a row of engine_plugins/buffers.json, whose dtype and
// components it must have, or a name of the plugin's own of at most 63 bytes. row_pitch: bytes from
// row to row, a multiple of item_bytes; 0 means tight.
struct BufferDesc {
    const char* name = "";
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    DType dtype = DType::u8;
    std::uint32_t components = 1;
    std::uint32_t row_pitch = 0;
};

constexpr std::size_t tight_pitch(const BufferDesc& desc) noexcept {
    return std::size_t{desc.width} * desc.components * item_bytes(desc.dtype);
}

// Rows are row_pitch apart, so the memory of a buffer is row_pitch * height bytes.
constexpr std::size_t pitch_of(const BufferDesc& desc) noexcept {
    return desc.row_pitch != 0 ? desc.row_pitch : tight_pitch(desc);
}

constexpr std::size_t bytes_of(const BufferDesc& desc) noexcept {
    return pitch_of(desc) * desc.height;
}

// Matrices are row-major. K is in pixels of the render size. far_m may be infinite.
struct Camera {
    std::array<double, 9> K{1, 0, 0, 0, 1, 0, 0, 0, 1};
    std::array<double, 16> world_from_camera{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    std::array<double, 16> world_from_camera_prev{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    double near_m = 0.1;
    double far_m = std::numeric_limits<double>::infinity();
    bool reversed_z = false;
};

// Bits of FrameInfo::flags.
namespace frame_flags {
constexpr std::uint32_t none = 0;
constexpr std::uint32_t cut = 1;          // motion does not connect to the frame before
constexpr std::uint32_t teleport = 2;
constexpr std::uint32_t paused = 4;
constexpr std::uint32_t loading = 8;
constexpr std::uint32_t menu = 16;
constexpr std::uint32_t hud_in_color = 32;  // color could not be taken before the HUD
constexpr std::uint32_t generated = 64;     // made by frame generation, not rendered
}  // namespace frame_flags

// Why a frame was dropped; counted cumulatively in every frame's header.
enum class Cause : std::uint8_t {
    no_credit,      // the client, or the pool of slots, was not ready for another frame
    readback_late,  // the GPU copy was not finished in time
    encode,         // a buffer could not be described or filled
    oversize,       // larger than the client's limit or the settings
    disconnected,   // no client
};
constexpr std::size_t num_causes = 5;
using Drops = std::array<std::uint64_t, num_causes>;

// The name of a cause on the wire.
const char* name_of(Cause cause) noexcept;

struct Size {
    std::uint32_t width = 1;
    std::uint32_t height = 1;
};

// Everything about one frame but its pixels. t_sim_ns: game time. t_render_ns: now_ns() at
// submission to the GPU; 0 means now.
struct FrameInfo {
    std::uint64_t frame_id = 0;
    std::int64_t t_sim_ns = 0;
    std::int64_t t_render_ns = 0;
    Size render_size;
    Size output_size;
    bool has_camera = false;
    Camera camera;
    std::uint32_t flags = frame_flags::none;
    std::array<double, 2> jitter_px{0, 0};
};

using TextMap = std::vector<std::pair<std::string, std::string>>;

// A buffer that will come; params say e.g. {"source", "depth"} or {"classes", "none,sky"}.
struct StreamDesc {
    std::string name;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    DType dtype = DType::u8;
    std::uint32_t components = 1;
    TextMap params;
};

// How a plugin speaks. All texts are UTF-8.
struct Config {
    std::string host = "127.0.0.1";  // an IPv4 address of the loopback; no names are resolved
    std::uint16_t port = 5570;
    std::string engine;
    std::string engine_version;
    std::string plugin;
    std::string plugin_version;
    std::string game;
    std::string token;
    std::vector<StreamDesc> streams;
    TextMap params;
    bool lockstep = false;       // begin waits for credit, and the game advances dt_sim_ns a frame
    std::int64_t dt_sim_ns = 0;  // of lockstep
    bool same_frame = true;      // all buffers of a seq come from one rendered frame
    bool checksum = false;       // CRC-32 of every payload
    bool shared_memory = true;   // use it where the client offers it
    std::uint32_t slots = 6;     // frames being read back or waiting to be sent; at most 64
    // A slot starts with room for the streams and grows with larger frames up to this; 0: 512 MiB.
    // Of every slot so much address space is reserved; memory is paid for when touched.
    std::size_t max_frame_bytes = 0;
    std::uint32_t lockstep_timeout_ms = 30000;  // then a frame is dropped after all
    std::uint32_t close_timeout_ms = 2000;      // how long the destructor may take
};

struct Stats {
    std::uint64_t rendered = 0;  // calls of begin
    std::uint64_t sent = 0;      // frames handed to the operating system whole
    Drops drops{};
    std::uint64_t bytes_sent = 0;  // of payloads, also through shared memory
    std::uint64_t connections = 0;
    bool shared_memory = false;  // whether payloads go through it now
};

// What the client asks for, e.g. name "start", "stop", "pause"; answer each.
struct Command {
    static constexpr std::size_t max_args = 8;
    std::uint64_t request_id = 0;
    char name[64] = {};
    std::size_t num_args = 0;
    char keys[max_args][32] = {};
    char values[max_args][128] = {};
};

}  // namespace realmaster
