// Replaces a method in the vtables of COM objects, and puts it back. One Hook per method: classes
// of one interface may have several vtables (Wine's, deferred contexts, other hooks' copies).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

namespace realmaster {

class HookBase {
public:
    static constexpr std::size_t max_vtables = 12;

    HookBase(unsigned slot, void* detour) noexcept;
    HookBase(const HookBase&) = delete;
    HookBase& operator=(const HookBase&) = delete;

    // Patches the vtable of `object`; true if it is patched now. Cheap where it is already.
    bool install(void* object) noexcept;

    // Puts the originals back. False where another hook lies above ours: then this library must
    // stay loaded.
    bool restore() noexcept;

    // Restores every hook of this library.
    static bool restore_all() noexcept;

protected:
    // The method that `object` had before; for an unknown vtable (a copy of a patched one), that
    // of the first.
    [[nodiscard]] void* original_of(void* object) const noexcept {
        void** vtable = *static_cast<void***>(object);
        const std::size_t count = count_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < count; ++i) {
            if (entries_[i].vtable == vtable) {
                return entries_[i].original;
            }
        }
        return entries_[0].original;
    }

private:
    struct Entry {
        void** vtable = nullptr;
        void* original = nullptr;
    };

    unsigned slot_;
    void* detour_;
    std::array<Entry, max_vtables> entries_{};
    std::atomic<std::size_t> count_{0};
    HookBase* next_ = nullptr;
};

template <typename Method>
class Hook : public HookBase {
public:
    Hook(unsigned slot, Method detour) noexcept
        : HookBase(slot, reinterpret_cast<void*>(detour)) {}

    [[nodiscard]] Method original(void* object) const noexcept {
        return reinterpret_cast<Method>(original_of(object));
    }
};

// Counts the calls that are inside a detour which may wait (Present, resizing): the library must
// not be unloaded under them.
class DetourScope {
public:
    DetourScope() noexcept {
        active().fetch_add(1, std::memory_order_acq_rel);
    }
    ~DetourScope() {
        active().fetch_sub(1, std::memory_order_acq_rel);
    }
    DetourScope(const DetourScope&) = delete;
    DetourScope& operator=(const DetourScope&) = delete;

    static std::atomic<int>& active() noexcept;
};

}  // namespace realmaster
