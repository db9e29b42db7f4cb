// See online_guard.h.
#include "online_guard.h"

#include <algorithm>
#include <cctype>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

namespace realmaster::gtav {

namespace {

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool contains(const std::string& text, const char* part) noexcept {
    return text.find(part) != std::string::npos;
}

}  // namespace

const char* reason_against(const std::string& program, const std::string& command_line,
                           bool anti_cheat_loaded, bool script_hook) noexcept {
    const std::string name = lower(program);
    const std::string arguments = lower(command_line);
    for (const char* client : {"fivem", "ragemp", "altv", "gtanetwork"}) {
        if (contains(name, client)) {
            return "a multiplayer client: RealMaster captures single player only";
        }
    }
    for (const char* online : {"-straightintofreemode", "-gostraighttomp"}) {
        if (contains(arguments, online)) {
            return "the game was started for GTA Online: RealMaster captures single player only";
        }
    }
    if (anti_cheat_loaded) {
        return "BattlEye is active: start single player with -nobattleye";
    }
    if (!script_hook && !contains(arguments, "-scofflineonly")) {
        return "ScriptHookV is not loaded, so an online session could not be noticed: install it, "
               "or start the game with -scOfflineOnly";
    }
    return nullptr;
}

#ifdef _WIN32
const char* reason_against_this_process(bool script_hook) noexcept {
    char program[MAX_PATH] = {};
    GetModuleFileNameA(nullptr, program, MAX_PATH);
    const bool anti_cheat = GetModuleHandleA("BEClient_x64.dll") != nullptr ||
                            GetModuleHandleA("BEClient.dll") != nullptr;
    return reason_against(program, GetCommandLineA(), anti_cheat, script_hook);
}
#endif

}  // namespace realmaster::gtav
