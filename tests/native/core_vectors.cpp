// The core beside the golden vectors of tests/conformance.
//
// usage: core_vectors write NAME      the header of a message that a plugin sends, to stdout
//        core_vectors read FILE.bin   what the core makes of a client's message, as JSON
//        core_vectors table           the core's table of buffers, as JSON
//        core_vectors crc             CRC-32 of stdin
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "buffer_table.h"
#include "crc32.h"
#include "messages.h"

using namespace realmaster;

namespace {

std::vector<std::uint8_t> read_all(std::FILE* file) {
    std::vector<std::uint8_t> bytes;
    int byte = 0;
    while ((byte = std::fgetc(file)) != EOF) {
        bytes.push_back(static_cast<std::uint8_t>(byte));
    }
    return bytes;
}

Config hello_config() {
    Config config;
    config.engine = "street";
    config.engine_version = "1.10.16";
    config.plugin = "panda3d";
    config.plugin_version = "0.1.0";
    config.game = "stra\xc3\x9f" "e";
    config.streams = {{"color", 640, 360, DType::u8, 4, {}},
                      {"semantic", 640, 360, DType::u8, 1, {{"classes", "none,sky"}}}};
    config.lockstep = true;
    config.dt_sim_ns = 41'666'667;
    config.token = "secret";
    config.params = {{"seed", "907"}};
    return config;
}

void write_hello_vector(msgpack::Writer* writer, bool shared) {
    const std::string uuid = "0123456789abcdef0123456789abcdef";
    HelloExtra extra;
    extra.session_uuid = uuid;
    if (shared) {
        extra.shared_slots = 6;
        extra.shared_slot_bytes = 16 << 20;
    }
    write_hello(writer, hello_config(), extra);
}

FrameHeader frame_header() {
    FrameHeader header;
    header.seq = 7;
    header.info.frame_id = std::uint64_t{1} << 40;
    header.info.t_sim_ns = -5;
    header.info.t_render_ns = 1'000'000'001;
    header.t_send_ns = 1'000'000'002;
    header.info.render_size = {4, 3};
    header.info.output_size = {8, 6};
    header.info.flags = frame_flags::cut | frame_flags::hud_in_color;
    header.drops[static_cast<std::size_t>(Cause::no_credit)] = 3;
    header.drops[static_cast<std::size_t>(Cause::disconnected)] = 1;
    header.info.jitter_px = {0.25, -0.125};
    return header;
}

void write_frame_vector(msgpack::Writer* writer) {
    FrameHeader header = frame_header();
    header.info.has_camera = true;
    Camera& camera = header.info.camera;
    camera.K = {500, 0, 2, 0, 500, 1.5, 0, 0, 1};
    camera.world_from_camera[3] = 1.5;
    camera.world_from_camera[7] = -2.0;
    camera.world_from_camera[11] = 1.6;
    camera.near_m = 0.1;
    camera.far_m = std::numeric_limits<double>::infinity();
    camera.reversed_z = true;
    std::uint8_t color[48];
    for (std::uint8_t index = 0; index < 48; ++index) {
        color[index] = index;
    }
    Descriptor buffers[4];
    buffers[0].desc = {"color", 4, 3, DType::u8, 4, 0};
    buffers[0].has_checksum = true;
    buffers[0].checksum = crc32(color, sizeof color);
    buffers[1].desc = {"depth", 4, 3, DType::f32, 1, 0};
    buffers[1].codec = "shuffle+lz4";
    buffers[2].desc = {"normal", 4, 3, DType::f16, 3, 0};
    buffers[2].codec = "lz4";
    buffers[3].desc = {"x_thickness", 4, 3, DType::f32, 1, 0};
    header.buffers = buffers;
    header.num_buffers = 4;
    write_frame(writer, header);
}

void write_one_buffer(msgpack::Writer* writer, bool shared) {
    FrameHeader header = frame_header();
    Descriptor buffer;
    buffer.desc = {"color", 3, 3, DType::u8, 4, 16};
    if (shared) {
        buffer.has_checksum = true;
        buffer.checksum = 0xfedcba98;
        buffer.is_shared = true;
        buffer.shared = {"/proc/4242/fd/17", 3, std::uint64_t{1} << 33, 64, 48};
    }
    header.buffers = &buffer;
    header.num_buffers = 1;
    write_frame(writer, header);
}

bool write_vector(const std::string& name, msgpack::Writer* writer) {
    if (name == "hello" || name == "hello_shared") {
        write_hello_vector(writer, name == "hello_shared");
    } else if (name == "frame") {
        write_frame_vector(writer);
    } else if (name == "frame_padded" || name == "frame_shared") {
        write_one_buffer(writer, name == "frame_shared");
    } else if (name == "mark") {
        write_mark(writer, INT64_MIN, "level 2");
    } else if (name == "result") {
        write_result(writer, 1, false, "no such level");
    } else if (name == "error") {
        write_error(writer, "busy", "another plugin is connected");
    } else if (name == "bye") {
        Drops drops{};
        drops[static_cast<std::size_t>(Cause::no_credit)] = 12;
        write_bye(writer, "quit", 240, drops);
    } else {
        return false;
    }
    return !writer->overflowed();
}

void print_welcome(const Welcome& welcome) {
    std::printf("{\"kind\": \"welcome\", \"epoch\": %" PRIu64 ", \"max_frame_bytes\": %" PRIu64
                ", \"heartbeat_ns\": %" PRId64 ", \"shared\": ",
                welcome.epoch, welcome.max_frame_bytes, welcome.heartbeat_ns);
    if (welcome.has_shared) {
        std::printf("{\"name\": \"%s\", \"slots\": %u, \"slot_bytes\": %" PRIu64 "}}",
                    welcome.shared_name, welcome.shared_slots, welcome.shared_slot_bytes);
    } else {
        std::printf("null}");
    }
}

void print_credit(const Credit& credit) {
    std::printf("{\"kind\": \"credit\", \"frames\": %u, \"nbytes\": %" PRIu64 ", \"freed\": [",
                credit.frames, credit.nbytes);
    for (std::size_t index = 0; index < credit.num_freed; ++index) {
        std::printf("%s{\"slot\": %u, \"generation\": %" PRIu64 "}", index == 0 ? "" : ", ",
                    credit.freed[index].slot, credit.freed[index].generation);
    }
    std::printf("]}");
}

void print_command(const Command& command) {
    std::printf("{\"kind\": \"command\", \"request_id\": %" PRIu64, command.request_id);
    std::printf(", \"name\": \"%s\", \"args\": {", command.name);
    for (std::size_t index = 0; index < command.num_args; ++index) {
        std::printf("%s\"%s\": \"%s\"", index == 0 ? "" : ", ", command.keys[index],
                    command.values[index]);
    }
    std::printf("}}");
}

void print_message(const Message& message) {
    switch (message.kind) {
        case Incoming::welcome:
            return print_welcome(message.welcome);
        case Incoming::credit:
            return print_credit(message.credit);
        case Incoming::command:
            return print_command(message.command);
        case Incoming::command_too_long:
            std::printf("{\"too_long\": %" PRIu64 "}", message.command.request_id);
            return;
        case Incoming::enhanced:
            std::printf("{\"kind\": \"enhanced\"}");
            return;
        case Incoming::error:
            std::printf("{\"kind\": \"error\", \"code\": \"%s\", \"text\": \"%s\"}", message.code,
                        message.text);
            return;
        case Incoming::bye:
            std::printf("{\"kind\": \"bye\", \"reason\": \"%s\", \"last_seq\": %" PRId64 "}",
                        message.text, message.last_seq);
            return;
        case Incoming::skipped:
            std::printf("{\"skipped\": true}");
            return;
        case Incoming::version:
            std::printf("{\"version\": [%d, %d]}", message.major, message.minor);
            return;
        case Incoming::malformed:
            std::printf("{\"malformed\": \"%s\"}", message.fault);
            return;
    }
}

int read_vector(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) {
        return 1;
    }
    const std::vector<std::uint8_t> bytes = read_all(file);
    std::fclose(file);
    const std::uint8_t* header = nullptr;
    std::size_t header_size = 0;
    std::vector<std::uint64_t> payloads;
    for (std::size_t at = 0; at + 4 <= bytes.size();) {
        std::uint32_t length = 0;
        std::memcpy(&length, bytes.data() + at, sizeof length);
        if (header == nullptr) {
            header = bytes.data() + at + 4;
            header_size = length;
        } else {
            payloads.push_back(length);
        }
        at += 4 + length;
    }
    Message message;
    read_message(header, header_size, payloads.data(), payloads.size(), &message);
    print_message(message);
    std::printf("\n");
    return 0;
}

void print_table() {
    std::printf("{");
    const char* separator = "";
    for (const BufferRow& row : buffer_table) {
        std::printf("%s\"%s\": [\"%s\", %u]", separator, row.name, name_of(row.dtype),
                    row.components);
        separator = ", ";
    }
    std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
    const std::string command = argc > 1 ? argv[1] : "";
    if (command == "write" && argc == 3) {
        static std::uint8_t bytes[max_header_bytes];
        msgpack::Writer writer(bytes, sizeof bytes);
        return write_vector(argv[2], &writer) &&
                       std::fwrite(bytes, 1, writer.size(), stdout) == writer.size()
                   ? 0
                   : 1;
    }
    if (command == "read" && argc == 3) {
        return read_vector(argv[2]);
    }
    if (command == "table") {
        print_table();
        return 0;
    }
    if (command == "crc") {
        const std::vector<std::uint8_t> bytes = read_all(stdin);
        std::printf("%" PRIu32 "\n", crc32(bytes.data(), bytes.size()));
        return 0;
    }
    return 2;
}
