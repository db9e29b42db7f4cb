// A stand-in for ScriptHookV.dll: runs one script in a fiber, once per frame of the test game, and
// answers its natives with the test game's camera.
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace {

void* game_fiber = nullptr;
void* script_fiber = nullptr;
void (*script)() = nullptr;
std::uint64_t hash = 0;
std::array<std::uint64_t, 4> result{};
struct {
    float position[3];
    float rotation[3];
    int time_ms;
    int online;
} game{};

void put(std::size_t slot, float value) {
    result[slot] = 0;
    std::memcpy(&result[slot], &value, sizeof(value));
}

void WINAPI run_script(void*) {
    script();
}

}  // namespace

extern "C" {

__declspec(dllexport) void script_register(HMODULE, void (*main)()) {
    script = main;
}
__declspec(dllexport) void script_unregister(HMODULE) {
    script = nullptr;
}
__declspec(dllexport) void script_wait(DWORD) {
    SwitchToFiber(game_fiber);
}
__declspec(dllexport) void native_init(std::uint64_t value) {
    hash = value;
}
__declspec(dllexport) void native_push(std::uint64_t) {}
__declspec(dllexport) std::uint64_t* native_call() {
    result = {};
    switch (hash) {
        case 0xA200EB1EE790F448:
            for (std::size_t i = 0; i < 3; ++i) {
                put(i, game.position[i]);
            }
            break;
        case 0x5B4E4C817FCC2DFB:
            for (std::size_t i = 0; i < 3; ++i) {
                put(i, game.rotation[i]);
            }
            break;
        case 0x80EC114669DAEFF4:
            put(0, 60.0F);
            break;
        case 0xD0082607100D7193:
            put(0, 0.1F);
            break;
        case 0xDFC8CBC606FDB0FC:
            put(0, 200.0F);
            break;
        case 0x9CD27B0045628463:
            result[0] = static_cast<std::uint64_t>(game.time_ms);
            break;
        case 0x9DE624D2FC4B603F:
            result[0] = static_cast<std::uint64_t>(game.online);
            break;
        default:
            break;
    }
    return result.data();
}

// The test game's frame: sets the camera and lets the script run once.
__declspec(dllexport) void game_frame(const float* position, const float* rotation, int time_ms,
                                      int online) {
    std::memcpy(game.position, position, sizeof(game.position));
    std::memcpy(game.rotation, rotation, sizeof(game.rotation));
    game.time_ms = time_ms;
    game.online = online;
    if (script == nullptr) {
        return;
    }
    if (game_fiber == nullptr) {
        game_fiber = ConvertThreadToFiber(nullptr);
    }
    if (script_fiber == nullptr) {
        script_fiber = CreateFiber(0, run_script, nullptr);
    }
    SwitchToFiber(script_fiber);
}

}  // extern "C"
