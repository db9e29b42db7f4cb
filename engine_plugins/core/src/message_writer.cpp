// Headers that a plugin sends, field by field in the order of capture_bridge/records.py.
#include <cmath>
#include <cstring>

#include "messages.h"

namespace realmaster {

using msgpack::Writer;

namespace {

void open_message(Writer* writer, std::string_view kind, std::size_t num_fields) noexcept {
    writer->map(2 + num_fields);
    writer->text("v");
    writer->array(2);
    writer->integer(protocol_major);
    writer->integer(protocol_minor);
    writer->text("kind");
    writer->text(kind);
}

void write_text(Writer* writer, std::string_view name, std::string_view value) noexcept {
    writer->text(name);
    writer->text(value);
}

void write_count(Writer* writer, std::string_view name, std::uint64_t value) noexcept {
    writer->text(name);
    writer->count(value);
}

void write_time(Writer* writer, std::string_view name, std::int64_t value) noexcept {
    writer->text(name);
    writer->integer(value);
}

void write_boolean(Writer* writer, std::string_view name, bool value) noexcept {
    writer->text(name);
    writer->boolean(value);
}

template <std::size_t n>
void write_numbers(Writer* writer, std::string_view name,
                   const std::array<double, n>& values) noexcept {
    writer->text(name);
    writer->array(n);
    for (const double value : values) {
        writer->number(value);
    }
}

void write_texts(Writer* writer, std::string_view name, const TextMap& texts) noexcept {
    writer->text(name);
    writer->map(texts.size());
    for (const auto& [key, value] : texts) {
        write_text(writer, key, value);
    }
}

void write_size(Writer* writer, std::string_view name, Size size) noexcept {
    writer->text(name);
    writer->array(2);
    writer->count(size.width);
    writer->count(size.height);
}

void write_drops(Writer* writer, const Drops& drops) noexcept {
    std::size_t num_nonzero = 0;
    for (const std::uint64_t count : drops) {
        num_nonzero += count != 0;
    }
    writer->text("drops");
    writer->map(num_nonzero);
    for (std::size_t index = 0; index < drops.size(); ++index) {
        if (drops[index] != 0) {
            write_count(writer, name_of(static_cast<Cause>(index)), drops[index]);
        }
    }
}

void write_stream(Writer* writer, const StreamDesc& stream) noexcept {
    writer->map(6);
    write_text(writer, "name", stream.name);
    write_count(writer, "width", stream.width);
    write_count(writer, "height", stream.height);
    write_text(writer, "dtype", name_of(stream.dtype));
    write_count(writer, "components", stream.components);
    write_texts(writer, "params", stream.params);
}

void write_camera(Writer* writer, const Camera& camera) noexcept {
    writer->map(6);
    write_numbers(writer, "K", camera.K);
    write_numbers(writer, "world_from_camera", camera.world_from_camera);
    write_numbers(writer, "world_from_camera_prev", camera.world_from_camera_prev);
    writer->text("near_m");
    writer->number(camera.near_m);
    writer->text("far_m");
    writer->number(camera.far_m);
    write_boolean(writer, "reversed_z", camera.reversed_z);
}

void write_descriptor(Writer* writer, const Descriptor& buffer) noexcept {
    const std::size_t num_optional = (buffer.has_checksum ? 1 : 0) + (buffer.is_shared ? 1 : 0);
    writer->map(7 + num_optional);
    write_text(writer, "name", buffer.desc.name);
    write_count(writer, "width", buffer.desc.width);
    write_count(writer, "height", buffer.desc.height);
    write_text(writer, "dtype", name_of(buffer.desc.dtype));
    write_count(writer, "components", buffer.desc.components);
    write_count(writer, "row_pitch", pitch_of(buffer.desc));
    write_text(writer, "codec", buffer.codec);
    if (buffer.has_checksum) {
        write_count(writer, "checksum", buffer.checksum);
    }
    if (buffer.is_shared) {
        writer->text("shared");
        writer->map(5);
        write_text(writer, "name", buffer.shared.name);
        write_count(writer, "slot", buffer.shared.slot);
        write_count(writer, "generation", buffer.shared.generation);
        write_count(writer, "offset", buffer.shared.offset);
        write_count(writer, "nbytes", buffer.shared.nbytes);
    }
}

}  // namespace

void write_hello(Writer* writer, const Config& config, const HelloExtra& extra) noexcept {
    open_message(writer, "hello", extra.shared_slots == 0 ? 12 : 14);
    write_text(writer, "session_uuid", extra.session_uuid);
    write_text(writer, "engine", config.engine);
    write_text(writer, "engine_version", config.engine_version);
    write_text(writer, "plugin", config.plugin);
    write_text(writer, "plugin_version", config.plugin_version);
    write_text(writer, "game", config.game);
    writer->text("streams");
    writer->array(config.streams.size());
    for (const StreamDesc& stream : config.streams) {
        write_stream(writer, stream);
    }
    write_boolean(writer, "lockstep", config.lockstep);
    write_time(writer, "dt_sim_ns", config.dt_sim_ns);
    write_boolean(writer, "same_frame", config.same_frame);
    write_text(writer, "token", config.token);
    write_texts(writer, "params", config.params);
    if (extra.shared_slots != 0) {
        write_count(writer, "shared_slots", extra.shared_slots);
        write_count(writer, "shared_slot_bytes", extra.shared_slot_bytes);
    }
}

void write_frame(Writer* writer, const FrameHeader& header) noexcept {
    open_message(writer, "frame", 12);
    write_count(writer, "seq", header.seq);
    write_count(writer, "frame_id", header.info.frame_id);
    write_time(writer, "t_sim_ns", header.info.t_sim_ns);
    write_time(writer, "t_render_ns", header.info.t_render_ns);
    write_time(writer, "t_send_ns", header.t_send_ns);
    write_size(writer, "render_size", header.info.render_size);
    write_size(writer, "output_size", header.info.output_size);
    writer->text("camera");
    if (header.info.has_camera) {
        write_camera(writer, header.info.camera);
    } else {
        writer->nil();
    }
    writer->text("buffers");
    writer->array(header.num_buffers);
    for (std::size_t index = 0; index < header.num_buffers; ++index) {
        write_descriptor(writer, header.buffers[index]);
    }
    write_count(writer, "flags", header.info.flags);
    write_drops(writer, header.drops);
    write_numbers(writer, "jitter_px", header.info.jitter_px);
}

void write_mark(Writer* writer, std::int64_t t_sim_ns, std::string_view label) noexcept {
    open_message(writer, "mark", 2);
    write_time(writer, "t_sim_ns", t_sim_ns);
    write_text(writer, "label", label);
}

void write_result(Writer* writer, std::uint64_t request_id, bool ok,
                  std::string_view text) noexcept {
    open_message(writer, "result", 3);
    write_count(writer, "request_id", request_id);
    write_boolean(writer, "ok", ok);
    write_text(writer, "text", text);
}

void write_error(Writer* writer, std::string_view code, std::string_view text) noexcept {
    open_message(writer, "error", 2);
    write_text(writer, "code", code);
    write_text(writer, "text", text);
}

void write_bye(Writer* writer, std::string_view reason, std::int64_t last_seq,
               const Drops& drops) noexcept {
    open_message(writer, "bye", 3);
    write_text(writer, "reason", reason);
    write_time(writer, "last_seq", last_seq);
    write_drops(writer, drops);
}

}  // namespace realmaster
