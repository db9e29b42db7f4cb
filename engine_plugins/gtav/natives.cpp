// See natives.h.
#include "natives.h"

#include <cstring>

namespace realmaster::gtav {

namespace {

constexpr std::uint64_t rotation_order = 2;

template <typename Function>
bool resolve(HMODULE module, const char* name, Function* function) noexcept {
    FARPROC address = GetProcAddress(module, name);
    std::memcpy(function, &address, sizeof(*function));
    return address != nullptr;
}

float float_at(const std::uint64_t* slot) noexcept {
    float value = 0;
    std::memcpy(&value, slot, sizeof(value));
    return value;
}

std::array<float, 3> vector_at(const std::uint64_t* slots) noexcept {
    return {float_at(slots), float_at(slots + 1), float_at(slots + 2)};  // one float in eight bytes
}

}  // namespace

bool ScriptHook::find() noexcept {
    HMODULE module = GetModuleHandleA("ScriptHookV.dll");
    if (module == nullptr) {
        return false;
    }
    const bool all =
        resolve(module, "?scriptRegister@@YAXPEAUHINSTANCE__@@P6AXXZ@Z", &register_) &&
        resolve(module, "?scriptUnregister@@YAXPEAUHINSTANCE__@@@Z", &unregister_) &&
        resolve(module, "?scriptWait@@YAXK@Z", &wait_) &&
        resolve(module, "?nativeInit@@YAX_K@Z", &init_) &&
        resolve(module, "?nativePush64@@YAX_K@Z", &push_) &&
        resolve(module, "?nativeCall@@YAPEA_KXZ", &call_);
    if (!all) {
        call_ = nullptr;
    }
    return all;
}

void ScriptHook::add_script(HMODULE module, void (*script)()) const noexcept {
    register_(module, script);
}

void ScriptHook::remove_script(HMODULE module) const noexcept {
    unregister_(module);
}

void ScriptHook::wait_a_frame() const noexcept {
    wait_(0);
}

bool ScriptHook::get_bool(std::uint64_t hash) const noexcept {
    return (get_int(hash) & 0xFF) != 0;
}

int ScriptHook::get_int(std::uint64_t hash) const noexcept {
    init_(hash);
    return static_cast<int>(*call_());
}

float ScriptHook::get_float(std::uint64_t hash) const noexcept {
    init_(hash);
    return float_at(call_());
}

std::array<float, 3> ScriptHook::get_vector(std::uint64_t hash) const noexcept {
    init_(hash);
    return vector_at(call_());
}

std::array<float, 3> ScriptHook::get_rotation(std::uint64_t hash) const noexcept {
    init_(hash);
    push_(rotation_order);
    return vector_at(call_());
}

void ScriptHook::push(float value) const noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    push_(bits);
}

void ScriptHook::draw_text(const char* text, float x, float y) const noexcept {
    const auto push_text = [this](const char* pointer) {
        push_(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer)));
    };
    init_(native::text_scale);
    push(0.0F);
    push(0.3F);
    call_();
    init_(native::text_begin);
    push_text("STRING");
    call_();
    init_(native::text_add);
    push_text(text);
    call_();
    init_(native::text_end);
    push(x);
    push(y);
    push_(0);
    call_();
}

}  // namespace realmaster::gtav
