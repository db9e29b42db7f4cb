// See hook.h.
#include "hook.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

namespace realmaster {

namespace {

std::mutex& hooks_mutex() noexcept {
    static std::mutex mutex;
    return mutex;
}

HookBase*& first_hook() noexcept {
    static HookBase* first = nullptr;
    return first;
}

bool write_slot(void** at, void* value) noexcept {
    DWORD protection = 0;
    if (VirtualProtect(at, sizeof(void*), PAGE_READWRITE, &protection) == 0) {
        return false;
    }
    InterlockedExchangePointer(at, value);
    DWORD ignored = 0;
    VirtualProtect(at, sizeof(void*), protection, &ignored);
    return true;
}

}  // namespace

HookBase::HookBase(unsigned slot, void* detour) noexcept : slot_(slot), detour_(detour) {
    const std::lock_guard<std::mutex> guard(hooks_mutex());
    next_ = first_hook();
    first_hook() = this;
}

bool HookBase::install(void* object) noexcept {
    void** vtable = *static_cast<void***>(object);
    const std::size_t known = count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < known; ++i) {
        if (entries_[i].vtable == vtable) {
            return true;
        }
    }
    const std::lock_guard<std::mutex> guard(hooks_mutex());
    const std::size_t count = count_.load(std::memory_order_relaxed);
    for (std::size_t i = known; i < count; ++i) {
        if (entries_[i].vtable == vtable) {
            return true;
        }
    }
    // A vtable whose slot holds our detour already is a copy of a patched one.
    if (count == max_vtables || vtable[slot_] == detour_) {
        return vtable[slot_] == detour_;
    }
    entries_[count] = {vtable, vtable[slot_]};
    count_.store(count + 1, std::memory_order_release);  // before the first call can come in
    return write_slot(vtable + slot_, detour_);
}

bool HookBase::restore() noexcept {
    bool all = true;
    const std::size_t count = count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
        void** at = entries_[i].vtable + slot_;
        if (*at == detour_) {
            all = write_slot(at, entries_[i].original) && all;
        } else if (*at != entries_[i].original) {
            all = false;
        }
    }
    return all;
}

bool HookBase::restore_all() noexcept {
    const std::lock_guard<std::mutex> guard(hooks_mutex());
    bool all = true;
    for (HookBase* hook = first_hook(); hook != nullptr; hook = hook->next_) {
        all = hook->restore() && all;
    }
    return all;
}

std::atomic<int>& DetourScope::active() noexcept {
    static std::atomic<int> count{0};
    return count;
}

}  // namespace realmaster
