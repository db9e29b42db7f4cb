// ScriptHookV's functions, found at run time by their exported names: no SDK header is needed, and
// without ScriptHookV the plugin still loads. Natives may only be called on the script's thread.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <array>
#include <cstdint>

namespace realmaster::gtav {

// Hashes as published in the community's database; the same in Legacy and Enhanced.
namespace native {
constexpr std::uint64_t cam_coord = 0xA200EB1EE790F448;      // GET_FINAL_RENDERED_CAM_COORD
constexpr std::uint64_t cam_rot = 0x5B4E4C817FCC2DFB;        // GET_FINAL_RENDERED_CAM_ROT
constexpr std::uint64_t cam_fov = 0x80EC114669DAEFF4;        // GET_FINAL_RENDERED_CAM_FOV
constexpr std::uint64_t cam_near = 0xD0082607100D7193;       // GET_FINAL_RENDERED_CAM_NEAR_CLIP
constexpr std::uint64_t cam_far = 0xDFC8CBC606FDB0FC;        // GET_FINAL_RENDERED_CAM_FAR_CLIP
constexpr std::uint64_t game_timer = 0x9CD27B0045628463;     // GET_GAME_TIMER
constexpr std::uint64_t pause_menu = 0xB0034A223497FFCB;     // IS_PAUSE_MENU_ACTIVE
constexpr std::uint64_t loading = 0x10D0A8F259E93EC9;        // GET_IS_LOADING_SCREEN_ACTIVE
constexpr std::uint64_t session_started = 0x9DE624D2FC4B603F;  // NETWORK_IS_SESSION_STARTED
constexpr std::uint64_t in_session = 0xCA97246103B63917;       // NETWORK_IS_IN_SESSION
constexpr std::uint64_t text_scale = 0x07C837F9A01C34C9;     // SET_TEXT_SCALE
constexpr std::uint64_t text_begin = 0x25FBB336DF1804CB;     // BEGIN_TEXT_COMMAND_DISPLAY_TEXT
constexpr std::uint64_t text_add = 0x6C188BE134E074AA;  // ADD_TEXT_COMPONENT_SUBSTRING_PLAYER_NAME
constexpr std::uint64_t text_end = 0xCD015E5BB0D96A57;       // END_TEXT_COMMAND_DISPLAY_TEXT
}  // namespace native

class ScriptHook {
public:
    // True where ScriptHookV is loaded and has all that is used.
    bool find() noexcept;
    [[nodiscard]] bool found() const noexcept {
        return call_ != nullptr;
    }

    void add_script(HMODULE module, void (*script)()) const noexcept;
    void remove_script(HMODULE module) const noexcept;

    // On the script's thread only.
    void wait_a_frame() const noexcept;
    [[nodiscard]] bool get_bool(std::uint64_t hash) const noexcept;
    [[nodiscard]] int get_int(std::uint64_t hash) const noexcept;
    [[nodiscard]] float get_float(std::uint64_t hash) const noexcept;
    [[nodiscard]] std::array<float, 3> get_vector(std::uint64_t hash) const noexcept;
    // Euler angles in degrees: about x, y, z, applied z after x after y.
    [[nodiscard]] std::array<float, 3> get_rotation(std::uint64_t hash) const noexcept;
    void draw_text(const char* text, float x, float y) const noexcept;

private:
    void push(float value) const noexcept;

    void (*register_)(HMODULE, void (*)()) = nullptr;
    void (*unregister_)(HMODULE) = nullptr;
    void (*wait_)(DWORD) = nullptr;
    void (*init_)(std::uint64_t) = nullptr;
    void (*push_)(std::uint64_t) = nullptr;
    std::uint64_t* (*call_)() = nullptr;
};

}  // namespace realmaster::gtav
