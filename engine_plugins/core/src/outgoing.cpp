// What the plugin says: hello, frames in the order of begin, notes, bye; and the account of drops.
//
// A frame's header holds the drops of all frames before it: those that begin counted, as they stood
// then, and those that the worker counted, which goes through the slots in order.
#include <algorithm>
#include <cstring>

#include "core.h"
#include "crc32.h"

namespace realmaster {

namespace {

constexpr std::size_t max_note_bytes = 1024;
constexpr std::size_t max_hello_bytes = max_header_bytes;

}  // namespace

// Appends one whole message without payloads; false where it does not fit.
template <typename Write>
bool Core::send_message(Write write) noexcept {
    const std::size_t room = outbox_.capacity() - outbox_.size();
    if (room < zmtp::max_head_bytes + max_note_bytes) {
        error.set("the client does not read");
        return false;
    }
    const std::size_t start = outbox_.size();
    outbox_.resize(outbox_.capacity());
    std::uint8_t* body = outbox_.data() + start + zmtp::max_head_bytes;
    msgpack::Writer writer(body, std::min(room - zmtp::max_head_bytes, max_hello_bytes));
    write(&writer);
    if (writer.overflowed()) {
        outbox_.resize(start);
        return false;
    }
    const std::size_t head = zmtp::write_head(outbox_.data() + start, writer.size(), false, false);
    std::memmove(outbox_.data() + start + head, body, writer.size());
    outbox_.resize(start + head + writer.size());
    return true;
}

void Core::append(const std::uint8_t* data, std::size_t size) noexcept {
    if (outbox_.capacity() - outbox_.size() >= size) {  // else the client does not read anyway
        outbox_.insert(outbox_.end(), data, data + size);
    }
}

void Core::say_hello() noexcept {
    HelloExtra extra;
    extra.session_uuid = session_uuid_;
    if (config.shared_memory) {
        extra.shared_slots = pool.size();
        extra.shared_slot_bytes = pool.slot_bytes();
    }
    const bool fits = send_message(
        [&](msgpack::Writer* writer) { write_hello(writer, config, extra); });
    if (!fits) {
        go_offline("the settings' texts are too long for a hello", std::int64_t{1} << 60);
    }
}

void Core::refuse_command(std::uint64_t request_id) noexcept {
    send_message([&](msgpack::Writer* writer) {
        write_result(writer, request_id, false,
                     "the command or its arguments are too long for a native plugin");
    });
}

void Core::send_notes() noexcept {
    while (const Note* note = notes.front()) {
        const bool taken = send_message([&](msgpack::Writer* writer) {
            if (note->kind == Note::Kind::mark) {
                write_mark(writer, note->t_sim_ns, note->text);
            } else {
                write_result(writer, note->request_id, note->ok, note->text);
            }
        });
        if (!taken) {
            return;
        }
        notes.pop();
    }
}

// --- frames ---------------------------------------------------------------------------------

void Core::send_frames() noexcept {
    while (sending_ == nullptr) {
        const std::uint32_t* index = order_.front();
        if (index == nullptr) {
            return;
        }
        Slot* slot = &pool[*index];
        const SlotState state = slot->state.load(std::memory_order_acquire);
        if (state == SlotState::filling) {
            return;
        }
        if (state == SlotState::dropped) {
            order_.pop();
            count_drop(slot, slot->cause, slot->fault);
            continue;
        }
        if (!send_frame(slot)) {
            return;
        }
    }
}

// Sends or drops the oldest slot; false where it must wait.
bool Core::send_frame(Slot* slot) noexcept {
    Cause cause = Cause::encode;
    const char* fault = refusal_of(*slot, &cause);
    if (fault == nullptr && slot->own_bytes > credit_bytes_) {
        if (config.lockstep) {
            return false;
        }
        fault = "";
        cause = Cause::no_credit;
    }
    order_.pop();
    if (fault != nullptr) {
        count_drop(slot, cause, fault[0] == '\0' ? nullptr : fault);
    } else {
        start_frame(slot);
        flush();
    }
    return true;
}

// Why the slot cannot be sent at all ("" for no fault of the plugin's), or nullptr.
const char* Core::refusal_of(const Slot& slot, Cause* cause) const noexcept {
    if (slot.fault != nullptr) {
        *cause = slot.cause;
        return slot.fault;
    }
    if (phase_ != Phase::welcomed || slot.connection != connections_) {
        *cause = Cause::disconnected;
        return "";
    }
    *cause = Cause::encode;
    if (slot.info.has_camera && !is_valid(slot.info.camera)) {
        return "a camera holds a NaN or an infinity, or near_m is not in 0..far_m";
    }
    for (const Size size : {slot.info.render_size, slot.info.output_size}) {
        if (size.width < 1 || size.width > max_side || size.height < 1 || size.height > max_side) {
            return "a frame's render_size and output_size must lie in 1..16384";
        }
    }
    if (slot.frame_bytes > max_frame_bytes_) {
        *cause = Cause::oversize;
        return "a frame is larger than the client's limit: capture at a smaller size";
    }
    return nullptr;
}

void Core::describe(const Slot& slot, Descriptor* out) const noexcept {
    for (std::size_t index = 0; index < slot.num_buffers; ++index) {
        const FilledBuffer& buffer = slot.buffers[index];
        Descriptor& descriptor = out[index];
        descriptor.desc = buffer.desc;
        if (config.checksum) {
            descriptor.has_checksum = true;
            descriptor.checksum = crc32(buffer.data, bytes_of(buffer.desc));
        }
        if (buffer.ring_offset != 0) {
            descriptor.is_shared = true;
            descriptor.shared = {slot.ring->name, slot.index, slot.generation, buffer.ring_offset,
                                 bytes_of(buffer.desc)};
        }
    }
}

void Core::start_frame(Slot* slot) noexcept {
    Descriptor descriptors[max_buffers];
    describe(*slot, descriptors);
    FrameHeader header;
    header.seq = slot->seq;
    header.info = slot->info;
    header.t_send_ns = now_ns();
    header.drops = slot->drops_before;
    for (std::size_t index = 0; index < num_causes; ++index) {
        header.drops[index] += late_drops_[index].load(std::memory_order_relaxed);
    }
    header.buffers = descriptors;
    header.num_buffers = slot->num_buffers;

    // All heads of ZMTP frames and the header go into header_, the payloads stay in the slot.
    constexpr std::size_t heads_bytes = (1 + max_buffers) * zmtp::max_head_bytes;
    std::uint8_t* body = header_.data() + heads_bytes;
    msgpack::Writer writer(body, header_.size() - heads_bytes);
    write_frame(&writer, header);
    if (writer.overflowed()) {
        count_drop(slot, Cause::encode, "a frame's header is too long");
        return;
    }
    std::uint8_t* head = header_.data();
    slices_.clear();
    next_slice_ = 0;
    is_in_frame_ = false;
    const auto add_part = [&](const std::uint8_t* data, std::size_t size, bool more) {
        const std::size_t head_size = zmtp::write_head(head, size, more, false);
        slices_.push_back({head, head_size});
        head += zmtp::max_head_bytes;
        if (size != 0) {
            slices_.push_back({data, size});
        }
    };
    add_part(body, writer.size(), slot->num_buffers != 0);
    for (std::size_t index = 0; index < slot->num_buffers; ++index) {
        const FilledBuffer& buffer = slot->buffers[index];
        const std::size_t size = buffer.ring_offset != 0 ? 0 : bytes_of(buffer.desc);
        add_part(buffer.data, size, index + 1 < slot->num_buffers);
        credit_bytes_ -= size;
    }
    sending_ = slot;
}

void Core::flush() noexcept {
    while (phase_ > Phase::connecting) {
        // A small message never comes between the parts of a frame.
        const bool in_frame =
            sending_ != nullptr && (is_in_frame_ || outbox_sent_ == outbox_.size());
        platform::Slice small{outbox_.data() + outbox_sent_, outbox_.size() - outbox_sent_};
        if (!in_frame && small.size == 0) {
            return;
        }
        std::size_t sent = 0;
        const platform::Slice* first = in_frame ? &slices_[next_slice_] : &small;
        const std::size_t count = in_frame ? slices_.size() - next_slice_ : 1;
        const platform::Io result = socket_.send(first, count, &sent);
        if (result == platform::Io::broken) {
            lose("the client is gone");
            return;
        }
        if (result == platform::Io::later) {
            return;
        }
        if (!in_frame) {
            outbox_sent_ += sent;
            if (outbox_sent_ == outbox_.size()) {
                outbox_.clear();
                outbox_sent_ = 0;
            }
            continue;
        }
        is_in_frame_ = true;
        for (; next_slice_ < slices_.size() && sent >= slices_[next_slice_].size; ++next_slice_) {
            sent -= slices_[next_slice_].size;
        }
        if (next_slice_ == slices_.size()) {
            finish_frame();
        } else {
            slices_[next_slice_].data += sent;
            slices_[next_slice_].size -= sent;
        }
    }
}

void Core::finish_frame() noexcept {
    for (std::size_t index = 0; index < sending_->num_buffers; ++index) {
        bytes_sent_ += bytes_of(sending_->buffers[index].desc);
    }
    ++sent_;
    pool.remember(sending_->frame_bytes);
    if (sending_->is_shared()) {
        sending_->state.store(SlotState::lent, std::memory_order_relaxed);
    } else {
        pool.free(sending_);
        host_wake_.notify();
    }
    sending_ = nullptr;
    is_in_frame_ = false;
}

// --- the account ---------------------------------------------------------------------------------

void Core::count_drop(Slot* slot, Cause cause, const char* fault) noexcept {
    late_drops_[static_cast<std::size_t>(cause)].fetch_add(1, std::memory_order_relaxed);
    if (fault != nullptr) {
        error.set(fault);
    }
    const std::uint32_t connection = slot->connection;
    pool.free(slot);
    give_credit(connection, 1);
}

void Core::drop_unsubmitted() noexcept {
    for (std::uint32_t index = 0; index < pool.size(); ++index) {
        Slot& slot = pool[index];
        SlotState expected = SlotState::filling;
        slot.cause = Cause::readback_late;
        slot.state.compare_exchange_strong(expected, SlotState::dropped);
    }
}

Drops Core::drops_now() const noexcept {
    Drops drops{};
    for (std::size_t index = 0; index < num_causes; ++index) {
        drops[index] = begin_drops_[index].load(std::memory_order_relaxed) +
                       late_drops_[index].load(std::memory_order_relaxed);
    }
    return drops;
}

void Core::send_bye() noexcept {
    const auto last_seq = static_cast<std::int64_t>(next_seq_.load()) - 1;
    said_bye_ = send_message([&](msgpack::Writer* writer) {
        write_bye(writer, "the engine ends", last_seq, drops_now());
    });
}

}  // namespace realmaster
