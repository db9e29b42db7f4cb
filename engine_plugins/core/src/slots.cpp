// See slots.h.
#include "slots.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace realmaster {

namespace {

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
    const std::size_t offset = rounded_up(used_bytes, alignment);
    if (bytes_of(desc) > max_bytes || offset > max_bytes - bytes_of(desc)) {
        return refuse(Cause::oversize, "a frame is larger than max_frame_bytes of the settings");
    }
    used_bytes = offset + bytes_of(desc);
    if (used_bytes > capacity) {
        return refuse(Cause::oversize, "a frame was larger than its slot, which will grow");
    }
    FilledBuffer& buffer = buffers[num_buffers++];
    std::memcpy(buffer.name, desc.name, length + 1);
    buffer.desc = desc;
    buffer.desc.name = buffer.name;
    buffer.offset = offset;
    return memory + offset;
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
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        slots_[index].index = index;
        bind(&slots_[index]);
        if (slots_[index].memory == nullptr) {
            return false;
        }
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
        slot.used_bytes = 0;
        if (slot.ring != nullptr) {
            ++slot.generation;
            slot.used_bytes = ring_head_bytes;
            std::memcpy(slot.memory, &slot.generation, sizeof slot.generation);
        }
        return &slot;
    }
    return nullptr;
}

void SlotPool::use_ring(std::shared_ptr<Ring> ring) noexcept {
    ring_ = std::move(ring);
    rebind_free();
}

void SlotPool::rebind_free() noexcept {
    for (std::uint32_t index = 0; index < num_slots_; ++index) {
        SlotState expected = SlotState::free;
        if (slots_[index].state.compare_exchange_strong(expected, SlotState::held,
                                                        std::memory_order_acquire)) {
            free(&slots_[index]);
        }
    }
}

void SlotPool::bind(Slot* slot) noexcept {
    if (ring_ != nullptr && slot->index < ring_->slots && ring_->slot_bytes >= wanted_bytes_) {
        if (slot->ring != ring_) {
            slot->ring = ring_;
            slot->generation = 0;
        }
        slot->memory = ring_->memory->data() + slot->index * ring_->slot_bytes;
        slot->capacity = ring_->slot_bytes;
        return;
    }
    slot->ring.reset();
    if (slot->own_capacity < wanted_bytes_) {
        if (std::uint8_t* larger = platform::reserve_memory(wanted_bytes_)) {
            platform::release_memory(slot->own_memory, slot->own_capacity);
            slot->own_memory = larger;
            slot->own_capacity = wanted_bytes_;
        }
    }
    slot->memory = slot->own_memory;
    slot->capacity = slot->own_capacity;
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

void SlotPool::grow_to(std::size_t num_bytes) noexcept {
    const std::size_t wanted = rounded_up(std::min(num_bytes, max_bytes_), 4096);
    if (wanted > wanted_bytes_) {
        wanted_bytes_ = wanted;
        rebind_free();
    }
}

}  // namespace realmaster
