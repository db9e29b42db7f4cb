// The protocol's messages as the plugin's side writes and reads them (PROTOCOL.md, "Kinds").
// Writes into fixed memory, reads untrusted bytes with limits; knows no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "msgpack.h"
#include "realmaster/types.h"

namespace realmaster {

constexpr int protocol_major = 1;
constexpr int protocol_minor = 1;
constexpr std::size_t max_header_bytes = 256 * 1024;
constexpr std::size_t max_buffers = 32;
constexpr std::size_t max_slots = 64;
constexpr std::uint32_t max_side = 16384;

// Where a payload lies in the shared ring (PROTOCOL.md, "Shared memory").
struct SharedPlace {
    std::string_view name;
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
    std::uint64_t offset = 0;
    std::uint64_t nbytes = 0;
};

struct Descriptor {
    BufferDesc desc;
    std::string_view codec = "raw";
    bool has_checksum = false;
    std::uint32_t checksum = 0;
    bool is_shared = false;
    SharedPlace shared;
};

struct FrameHeader {
    std::uint64_t seq = 0;
    FrameInfo info;
    std::int64_t t_send_ns = 0;
    Drops drops{};
    const Descriptor* buffers = nullptr;
    std::size_t num_buffers = 0;
};

// What hello says beyond Config. shared_slots 0: no wish for shared memory.
struct HelloExtra {
    std::string_view session_uuid;
    std::uint32_t shared_slots = 0;
    std::uint64_t shared_slot_bytes = 0;
};

// Each appends one whole header; what does not fit shows in writer->overflowed().
void write_hello(msgpack::Writer* writer, const Config& config, const HelloExtra& extra) noexcept;
void write_frame(msgpack::Writer* writer, const FrameHeader& header) noexcept;
void write_mark(msgpack::Writer* writer, std::int64_t t_sim_ns, std::string_view label) noexcept;
void write_result(msgpack::Writer* writer, std::uint64_t request_id, bool ok,
                  std::string_view text) noexcept;
void write_error(msgpack::Writer* writer, std::string_view code, std::string_view text) noexcept;
void write_bye(msgpack::Writer* writer, std::string_view reason, std::int64_t last_seq,
               const Drops& drops) noexcept;

// The name of a dtype on the wire.
const char* name_of(DType dtype) noexcept;

// What is wrong with the buffer's description (a fixed text), nullptr where nothing is.
const char* fault_of(const BufferDesc& desc) noexcept;

// Whether the camera is one that the client accepts: finite, 0 < near < far.
bool is_valid(const Camera& camera) noexcept;

struct Welcome {
    std::uint64_t epoch = 0;
    std::uint64_t max_frame_bytes = 0;
    std::int64_t heartbeat_ns = 0;
    bool has_shared = false;
    char shared_name[96] = {};
    std::uint32_t shared_slots = 0;
    std::uint64_t shared_slot_bytes = 0;
};

struct Freed {
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
};

struct Credit {
    std::uint32_t frames = 0;
    std::uint64_t nbytes = 0;
    std::size_t num_freed = 0;
    Freed freed[max_slots];
};

enum class Incoming : std::uint8_t {
    welcome,
    credit,
    command,
    command_too_long,  // valid, but its texts are too long for Command: request_id alone is set
    enhanced,          // valid; nobody reads it
    error,
    bye,
    skipped,   // a kind of a newer minor version
    version,   // another major version: v is in major, minor
    malformed  // fault says why
};

// One message of the client. Only the member that `kind` names is filled.
struct Message {
    Incoming kind = Incoming::malformed;
    int major = 0;
    int minor = 0;
    const char* fault = "";
    Welcome welcome;
    Credit credit;
    Command command;
    char code[32] = {};
    char text[256] = {};  // of error and bye, cut to fit
    std::int64_t last_seq = -1;
};

// Reads the header of a message that came with payloads of these sizes.
void read_message(const std::uint8_t* header, std::size_t size, const std::uint64_t* payload_sizes,
                  std::size_t num_payloads, Message* message) noexcept;

}  // namespace realmaster
