// See slots.h.
#include "slots.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace realmaster {

namespace {

constexpr std::size_t commit_unit = 64 * 1024;  // of pages, on every system

constexpr std::size_t rounded_up(std::size_t value, std::size_t unit) noexcept {
    return (value + unit - 1) / unit * unit;
}

}  // namespace

std::uint8_t* Slot::add(const BufferDesc& desc, std::size_t max_bytes) noexcept {
    const auto refuse = [this](Cause why, const char* text) -> std::uint8_t* {
        cause = why;
        fault = text;
        return nullptr;
    };
    if (const char* text = fault_of(desc)) {
        return refuse(Cause::encode, text);
    }
    const std::size_t length = std::strlen(desc.name);
    if (num_buffers == max_buffers || length >= sizeof buffers[0].name) {
        return refuse(Cause::encode, "a frame has more than 32 buffers, or a name of 64 bytes");
    }
    for (std::size_t at = 0; at < num_buffers; ++at) {
        if (std::strcmp(buffers[at].name, desc.name) == 0) {
            return refuse(Cause::encode, "a frame has the same buffer twice");
        }
    }
    const std::size_t size = bytes_of(desc);
    frame_bytes = rounded_up(frame_bytes, alignment);
    if (size > max_bytes || frame_bytes > max_bytes - size) {
        frame_bytes = max_bytes;
        return refuse(Cause::oversize, "a frame is larger than max_frame_bytes of the settings");
    }
    frame_bytes += size;
    FilledBuffer& buffer = buffers[num_buffers];
    buffer.data = place(size, &buffer.ring_offset);
    if (buffer.data == nullptr) {
        return refuse(Cause::oversize, "there is no memory for so large a frame");
    }
    ++num_buffers;
    std::memcpy(buffer.name, desc.name, length + 1);
    buffer.desc = desc;
    buffer.desc.name = buffer.name;
    return buffer.data;
}

std::uint8_t* Slot::place(std::size_t num_bytes, std::size_t* ring_offset) noexcept {
    const std::size_t in_ring = rounded_up(ring_bytes, alignment);
    if (ring != nullptr && num_bytes <= ring->slot_bytes &&
        in_ring <= ring->slot_bytes - num_bytes) {
        ring_bytes = in_ring + num_bytes;
        *ring_offset = in_ring;
        return ring->memory->data() + index * ring->slot_bytes + in_ring;
    }
    const std::size_t start = rounded_up(own_bytes, alignment);
    const std::size_t needed = rounded_up(start + num_bytes, commit_unit);
    if (needed > own_committed) {
        if (needed > own_capacity || !platform::commit_memory(own_memory, needed)) {
            return nullptr;
        }
        own_committed = needed;
    }
    own_bytes = start + num_bytes;
    *ring_offset = 0;
    return own_memory + start;
}

SlotPool::~SlotPool() {
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        platform::release_memory(slots_[index].own_memory, slots_[index].own_capacity);
    }
}

bool SlotPool::open(std::uint32_t num_slots, std::size_t initial_bytes,
                    std::size_t max_bytes) noexcept {
    max_bytes_ = max_bytes;
    wanted_bytes_ = rounded_up(std::clamp<std::size_t>(initial_bytes, 4096, max_bytes), 4096);
    slots_.reset(new (std::nothrow) Slot[num_slots]);
    if (slots_ == nullptr) {
        return false;
    }
    num_slots_ = num_slots;
    const std::size_t ready = rounded_up(wanted_bytes_, commit_unit);
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        Slot& slot = slots_[index];
        slot.index = index;
        for (const std::size_t capacity : {rounded_up(max_bytes, commit_unit), ready}) {
            slot.own_memory = platform::reserve_memory(capacity);
            slot.own_capacity = capacity;
            if (slot.own_memory != nullptr) {
                break;  // else the address space is limited: this slot will not grow
            }
        }
        if (slot.own_memory == nullptr || !platform::commit_memory(slot.own_memory, ready)) {
            return false;
        }
        slot.own_committed = ready;
    }
    return true;
}

bool SlotPool::has_free() const noexcept {
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        if (slots_[index].state.load(std::memory_order_relaxed) == SlotState::free) {
            return true;
        }
    }
    return false;
}

Slot* SlotPool::claim() noexcept {
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        Slot& slot = slots_[index];
        SlotState expected = SlotState::free;
        if (!slot.state.compare_exchange_strong(expected, SlotState::filling,
                                                std::memory_order_acquire)) {
            continue;
        }
        slot.fault = nullptr;
        slot.num_buffers = 0;
        slot.frame_bytes = slot.own_bytes = 0;
        slot.ring_bytes = ring_head_bytes;
        if (slot.ring != nullptr) {
            ++slot.generation;
            std::memcpy(slot.ring->memory->data() + index * slot.ring->slot_bytes,
                        &slot.generation, sizeof slot.generation);
        }
        return &slot;
    }
    return nullptr;
}

void SlotPool::use_ring(std::shared_ptr<Ring> ring) noexcept {
    ring_ = std::move(ring);
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        SlotState expected = SlotState::free;
        if (slots_[index].state.compare_exchange_strong(expected, SlotState::held,
                                                        std::memory_order_acquire)) {
            free(&slots_[index]);
        }
    }
}

void SlotPool::bind(Slot* slot) noexcept {
    const bool has_place = ring_ != nullptr && slot->index < ring_->slots;
    const std::shared_ptr<Ring> ring = has_place ? ring_ : nullptr;
    if (slot->ring != ring) {
        slot->ring = ring;
        slot->generation = 0;
    }
}

void SlotPool::free(Slot* slot) noexcept {
    bind(slot);
    slot->state.store(SlotState::free, std::memory_order_release);
}

void SlotPool::free_lent() noexcept {
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        if (slots_[index].state.load(std::memory_order_relaxed) == SlotState::lent) {
            free(&slots_[index]);
        }
    }
}

void SlotPool::free_lent(const Freed& freed) noexcept {
    if (freed.slot >= num_slots_) {
        return;
    }
    Slot& slot = slots_[freed.slot];
    if (slot.state.load(std::memory_order_relaxed) == SlotState::lent && slot.ring == ring_ &&
        slot.generation == freed.generation) {
        free(&slot);
    }
}

void SlotPool::remember(std::size_t frame_bytes) noexcept {
    const std::size_t wanted = std::min(ring_head_bytes + frame_bytes, max_bytes_);
    wanted_bytes_ = std::max(wanted_bytes_, rounded_up(wanted, 4096));
}

}  // namespace realmaster
