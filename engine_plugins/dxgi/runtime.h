// The life of the plugin in a game's process: settings, hooks as the graphics modules appear, and
// the orderly end. Knows backends only by their table, games only by their setup.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <memory>

#include "camera_source.h"
#include "log.h"
#include "settings.h"
#include "swap_chain_hooks.h"

namespace realmaster {

// One graphics API.
struct Backend {
    const char* module;  // hooked once the game has loaded it
    std::unique_ptr<PresentSink> (*make)(const Settings&, CameraSource*, Log*);
    bool (*install)(Log*);
    void (*attach)(PresentSink*);  // whom the detours tell; null: nobody
};

// What differs from game to game; each .asi defines one.
struct GameSetup {
    const char* settings_file;  // beside the .asi
    Settings defaults;
    void (*on_load)(HMODULE self) noexcept;    // in DllMain: only registrations
    void (*on_unload)(HMODULE self) noexcept;
    // A line that says why nothing may be captured here; null: it may.
    const char* (*forbids)() noexcept;
    CameraSource* camera;  // null: none
};
const GameSetup& game_setup();

// Defined beside the setup: which APIs this .asi can capture.
extern const Backend backends[];
extern const int num_backends;

}  // namespace realmaster
