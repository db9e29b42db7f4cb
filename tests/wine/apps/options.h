// The command line of the test games, their window, and how they load the plugin.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "scene.h"

// A frame takes this long, as with a display's refresh: a quick machine must not play all frames
// before the client is connected.
constexpr double kFrameMs = 20.0;

struct Options {
    unsigned width = 640;
    unsigned height = 360;
    int frames = 60;
    std::string format = "d32";
    std::string load;           // the plugin; "" is none
    int load_at = -1;           // a frame; -1: before the device is made
    int unload_at = -1;
    int resize_at = -1;
    unsigned resize_width = 0;
    unsigned resize_height = 0;
    bool dinput8 = false;       // load dinput8.dll, which loads the plugin
    bool decoy = true;
    bool world_normals = false;
    bool straight = false;      // the camera stands still, without yaw
    bool clear_late = false;    // clear depth before the HUD
    bool hud = true;
    bool generated = false;     // present each frame twice, as frame generation does
    bool gta = false;           // run scripts through ScriptHookV.dll
    int online_at = -1;         // the frame at which the natives say that a session started
    int press_key_at = -1;      // presses F10
    double render_scale = 1.0;
    std::string report;         // JSON, at the end
    std::string until;          // run on after the frames until this file is there
    scene::Projection projection;
};

inline const char* value_of(int argc, char** argv, int* at) {
    if (*at + 1 >= argc) {
        std::fprintf(stderr, "%s needs a value\n", argv[*at]);
        std::exit(2);
    }
    return argv[++*at];
}

inline Options read_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto text = [&] { return std::string(value_of(argc, argv, &i)); };
        const auto number = [&] { return std::atoi(value_of(argc, argv, &i)); };
        if (name == "--size") {
            std::sscanf(value_of(argc, argv, &i), "%ux%u", &options.width, &options.height);
        } else if (name == "--resize") {
            std::sscanf(value_of(argc, argv, &i), "%d:%ux%u", &options.resize_at,
                        &options.resize_width, &options.resize_height);
        } else if (name == "--frames") {
            options.frames = number();
        } else if (name == "--format") {
            options.format = text();
        } else if (name == "--load") {
            options.load = text();
        } else if (name == "--load-at") {
            options.load_at = number();
        } else if (name == "--unload-at") {
            options.unload_at = number();
        } else if (name == "--press-key-at") {
            options.press_key_at = number();
        } else if (name == "--render-scale") {
            options.render_scale = std::atof(value_of(argc, argv, &i));
        } else if (name == "--report") {
            options.report = text();
        } else if (name == "--until") {
            options.until = text();
        } else if (name == "--dinput8") {
            options.dinput8 = true;
        } else if (name == "--gta") {
            options.gta = true;
        } else if (name == "--online-at") {
            options.online_at = number();
        } else if (name == "--no-decoy") {
            options.decoy = false;
        } else if (name == "--world-normals") {
            options.world_normals = true;
        } else if (name == "--straight") {
            options.straight = true;
        } else if (name == "--clear-late") {
            options.clear_late = true;
        } else if (name == "--no-hud") {
            options.hud = false;
        } else if (name == "--generated") {
            options.generated = true;
        } else if (name == "--forward-z") {
            options.projection.reversed_z = false;
        } else {
            std::fprintf(stderr, "unknown option %s\n", name.c_str());
            std::exit(2);
        }
    }
    return options;
}

[[noreturn]] inline void fail(const char* what, long result) {
    std::fprintf(stderr, "%s failed: %08lx\n", what, static_cast<unsigned long>(result));
    std::fflush(stderr);
    TerminateProcess(GetCurrentProcess(), 3);
    std::abort();
}

inline void check(long result, const char* what) {
    if (result < 0) {
        fail(what, result);
    }
}

inline HWND open_window(unsigned width, unsigned height) {
    WNDCLASSA window_class{};
    window_class.lpfnWndProc = DefWindowProcA;
    window_class.hInstance = GetModuleHandleA(nullptr);
    window_class.lpszClassName = "test game";
    RegisterClassA(&window_class);
    HWND window = CreateWindowA("test game", "test game", WS_POPUP | WS_VISIBLE, 0, 0,
                                static_cast<int>(width), static_cast<int>(height), nullptr, nullptr,
                                window_class.hInstance, nullptr);
    SetForegroundWindow(window);
    return window;
}

inline void pump_messages() {
    MSG message;
    while (PeekMessageA(&message, nullptr, 0, 0, PM_REMOVE)) {
        DispatchMessageA(&message);
    }
}

// Loads the plugin and unloads it, as a mod loader would; keeps the account of time.
class Host {
public:
    explicit Host(const Options& options) : options_(options) {}

    // Before the device is made.
    void start() {
        if (options_.gta) {
            HMODULE hook = LoadLibraryA("ScriptHookV.dll");
            if (hook == nullptr) {
                fail("ScriptHookV.dll", static_cast<long>(GetLastError()));
            }
            script_frame_ = function<ScriptFrame>(hook, "game_frame");
        }
        if (options_.dinput8) {
            if (LoadLibraryA("dinput8.dll") == nullptr) {
                fail("dinput8.dll", static_cast<long>(GetLastError()));
            }
            wait_for_hooks(GetModuleHandleA(file_name(options_.load).c_str()));
        } else if (!options_.load.empty() && options_.load_at < 0) {
            load();
        }
    }

    // Before each frame; false: the last one was drawn.
    bool next(int frame) {
        pump_messages();
        LARGE_INTEGER now;
        LARGE_INTEGER frequency;
        QueryPerformanceCounter(&now);
        QueryPerformanceFrequency(&frequency);
        if (last_.QuadPart != 0) {
            const double spent_ms = 1e3 * static_cast<double>(now.QuadPart - last_.QuadPart) /
                                    static_cast<double>(frequency.QuadPart);
            times_ms_.push_back(spent_ms);
            if (spent_ms < kFrameMs) {
                Sleep(static_cast<DWORD>(kFrameMs - spent_ms));
            }
        }
        if (frame == options_.load_at && !options_.load.empty()) {
            load();
        }
        if (frame == options_.unload_at) {
            unload();
        }
        if (frame == options_.press_key_at) {
            keybd_event(VK_F10, 0x44, 0, 0);
        } else if (frame == options_.press_key_at + 3) {
            keybd_event(VK_F10, 0x44, KEYEVENTF_KEYUP, 0);
        }
        if (script_frame_ != nullptr) {
            run_scripts(frame);
        }
        QueryPerformanceCounter(&last_);
        const bool wait = !options_.until.empty() &&
                          GetFileAttributesA(options_.until.c_str()) == INVALID_FILE_ATTRIBUTES;
        return frame < options_.frames || wait || is_unloading();
    }

    // Ends the process: Wine's Direct3D may crash in its own clean-up.
    [[noreturn]] void finish(int frames) {
        if (!options_.report.empty()) {
            std::FILE* file = std::fopen(options_.report.c_str(), "w");
            if (file == nullptr) {
                fail("the report", 0);
            }
            std::fprintf(file, "{\"frames\": %d, \"unloaded\": %s, \"ms\": [", frames,
                         unloaded_ ? "true" : "false");
            for (std::size_t i = 0; i < times_ms_.size(); ++i) {
                std::fprintf(file, "%s%.3f", i != 0 ? ", " : "", times_ms_[i]);
            }
            std::fprintf(file, "]}\n");
            std::fclose(file);
        }
        TerminateProcess(GetCurrentProcess(), 0);
        std::abort();
    }

private:
    static std::string file_name(const std::string& path) {
        const std::size_t slash = path.find_last_of("/\\");
        return slash == std::string::npos ? path : path.substr(slash + 1);
    }

    using ScriptFrame = void (*)(const float*, const float*, int, int);

    // The pose of this frame as GTA-V's natives give it.
    void run_scripts(int frame) {
        const std::array<double, 16> pose = scene::pose(options_.straight ? 0 : frame);
        const float position[3] = {static_cast<float>(pose[3]), static_cast<float>(pose[7]),
                                   static_cast<float>(pose[11])};
        const double yaw = std::atan2(pose[6], pose[2]) * 57.29577951308232 - 90.0;
        const float rotation[3] = {0, 0, static_cast<float>(yaw)};
        const bool online = options_.online_at >= 0 && frame >= options_.online_at;
        script_frame_(position, rotation, frame * 33, online ? 1 : 0);
    }

    void load() {
        HMODULE module = LoadLibraryA(options_.load.c_str());
        if (module == nullptr) {
            fail(options_.load.c_str(), static_cast<long>(GetLastError()));
        }
        wait_for_hooks(module);
        FreeLibrary(module);  // the plugin keeps itself loaded
    }

    template <typename Function>
    static Function function(HMODULE module, const char* name) {
        FARPROC address = GetProcAddress(module, name);
        if (address == nullptr) {
            fail(name, static_cast<long>(GetLastError()));
        }
        Function found = nullptr;
        std::memcpy(&found, &address, sizeof(found));
        return found;
    }

    // What a real game's start-up seconds do; here nothing must depend on luck.
    void wait_for_hooks(HMODULE module) {
        if (module == nullptr) {
            fail("the plugin was not loaded", 0);
        }
        module_ = module;
        const auto ready = function<int (*)()>(module, "realmaster_ready");
        for (int i = 0; i < 3000 && ready() == 0; ++i) {
            pump_messages();
            Sleep(10);
        }
        if (ready() == 0) {
            fail("the plugin's hooks", 0);
        }
    }

    void unload() {
        if (module_ != nullptr) {
            function<void (*)()>(module_, "realmaster_unload")();
            ready_ = function<int (*)()>(module_, "realmaster_ready");
            module_ = nullptr;
            unloading_ = true;
        }
    }

    // After the last frame: the plugin lets go of the game's objects while the game goes on.
    bool is_unloading() {
        unload();
        // A proxy keeps its own reference: the library then stays, without hooks.
        const bool gone = options_.dinput8
                              ? unloading_ && ready_() == 0
                              : GetModuleHandleA(file_name(options_.load).c_str()) == nullptr;
        unloaded_ = unloading_ && gone;
        if (!unloading_ || gone || ++extra_frames_ > 3000) {
            return false;
        }
        Sleep(1);
        return true;
    }

    Options options_;
    ScriptFrame script_frame_ = nullptr;
    HMODULE module_ = nullptr;
    int (*ready_)() = nullptr;
    bool unloading_ = false;
    bool unloaded_ = false;
    int extra_frames_ = 0;
    LARGE_INTEGER last_{};
    std::vector<double> times_ms_;
};
