// Which entry of a ring of readbacks is where: free, being copied by the GPU, being converted by a
// task, converted. Everything but finish_convert is called by the render thread. No Unreal types.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace realmaster::unreal {

class RingState {
public:
    static constexpr int max_entries = 8;
    enum class Phase : std::uint8_t { free, copying, converting, converted };

    // max_age: frames after which a copy that is not ready counts as late.
    RingState(int num_entries, std::uint64_t max_age) noexcept
        : num_entries_(num_entries < 1 ? 1 : num_entries > max_entries ? max_entries : num_entries),
          max_age_(max_age) {}

    int num_entries() const noexcept { return num_entries_; }

    Phase phase(int entry) const noexcept { return at(entry).load(std::memory_order_acquire); }

    // A free entry, which is now being copied, or -1.
    int acquire(std::uint64_t frame) noexcept {
        for (int entry = 0; entry < num_entries_; ++entry) {
            if (phase(entry) == Phase::free) {
                started_[static_cast<std::size_t>(entry)] = frame;
                set(entry, Phase::copying);
                return entry;
            }
        }
        return -1;
    }

    void start_convert(int entry) noexcept { set(entry, Phase::converting); }

    // The task is done with the entry's memory; called by any thread.
    void finish_convert(int entry) noexcept { set(entry, Phase::converted); }

    void release(int entry) noexcept { set(entry, Phase::free); }

    bool is_late(int entry, std::uint64_t frame) const noexcept {
        return phase(entry) == Phase::copying &&
               frame - started_[static_cast<std::size_t>(entry)] > max_age_;
    }

    bool is_idle() const noexcept {
        for (int entry = 0; entry < num_entries_; ++entry) {
            if (phase(entry) != Phase::free) {
                return false;
            }
        }
        return true;
    }

private:
    using Cell = std::atomic<Phase>;

    const Cell& at(int entry) const noexcept { return phases_[static_cast<std::size_t>(entry)]; }
    void set(int entry, Phase phase) noexcept {
        phases_[static_cast<std::size_t>(entry)].store(phase, std::memory_order_release);
    }

    int num_entries_;
    std::uint64_t max_age_;
    std::array<Cell, max_entries> phases_{};
    std::array<std::uint64_t, max_entries> started_{};
};

}  // namespace realmaster::unreal
