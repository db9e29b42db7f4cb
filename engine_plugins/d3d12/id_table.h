// A bounded hash table from ids to entries, without allocation. Entries have a member `id`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace realmaster::d3d12 {

template <typename Entry, std::size_t capacity>
class IdTable {
public:
    [[nodiscard]] Entry* find(std::uint64_t id) noexcept {
        return const_cast<Entry*>(static_cast<const IdTable*>(this)->find(id));
    }
    [[nodiscard]] const Entry* find(std::uint64_t id) const noexcept {
        if (id <= removed) {
            return nullptr;
        }
        for (std::size_t step = 0; step < max_probes; ++step) {
            const Entry& entry = entries_[(start_of(id) + step) % capacity];
            if (entry.id == id) {
                return &entry;
            }
            if (entry.id == 0) {
                return nullptr;
            }
        }
        return nullptr;
    }

    // A fresh entry for a new id, the old one for a known id; nullptr where there is no room near.
    Entry* find_or_add(std::uint64_t id) noexcept {
        if (Entry* known = find(id)) {
            return known;
        }
        for (std::size_t step = 0; step < max_probes && id > removed; ++step) {
            Entry& entry = entries_[(start_of(id) + step) % capacity];
            if (entry.id <= removed) {
                entry = Entry();
                entry.id = id;
                return &entry;
            }
        }
        return nullptr;
    }

    void erase(std::uint64_t id) noexcept {
        if (Entry* entry = find(id)) {
            *entry = Entry();
            entry->id = removed;
        }
    }

    [[nodiscard]] std::array<Entry, capacity>& all() noexcept {
        return entries_;
    }
    static constexpr std::uint64_t removed = 1;  // no object's address

private:
    static constexpr std::size_t max_probes = 64;
    static std::size_t start_of(std::uint64_t id) noexcept {
        return static_cast<std::size_t>((id * 0x9E3779B97F4A7C15ULL) >> 32U) % capacity;
    }

    std::array<Entry, capacity> entries_{};
};

}  // namespace realmaster::d3d12
