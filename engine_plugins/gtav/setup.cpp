// The setup of realmaster_gtav.asi: GTA-V's projection, stencil and camera, single player only.
#include "camera.h"
#include "d3d11/hooks.h"
#include "d3d12/hooks.h"
#include "natives.h"
#include "online_guard.h"
#include "runtime.h"

namespace realmaster {

namespace {

gtav::ScriptHook script_hook;
gtav::ScriptCamera script_camera;

// On ScriptHookV's thread, for ever; it ends where ScriptHookV never resumes it.
void script() {
    for (;;) {
        script_camera.update(script_hook);
        script_hook.wait_a_frame();
    }
}

// Before the camera is heard: the depth range that independent authors found for the game, and
// its stencil's low three bits as our classes (person 7, vehicle 6, foliage 4, ground 2, sky 1).
Settings defaults() {
    Settings settings;
    settings.game = "Grand Theft Auto V";
    settings.projection = {0.15, 10003.815, true};
    settings.fov_y_deg = 50.0;
    settings.stencil = true;
    settings.stencil_classes.mask = 7;
    settings.stencil_classes.class_of = {0, 7, 6, 4, 2, 0, 0, 1};
    return settings;
}

}  // namespace

const Backend backends[] = {d3d11::backend(), d3d12::backend()};
const int num_backends = 2;

const GameSetup& game_setup() {
    static const GameSetup setup{
        "realmaster_gtav.ini",
        defaults(),
        [](HMODULE self) noexcept {
            if (script_hook.find()) {
                script_hook.add_script(self, script);
            }
        },
        [](HMODULE self) noexcept {
            if (script_hook.found()) {
                script_hook.remove_script(self);
            }
        },
        []() noexcept -> const char* {
            return gtav::reason_against_this_process(script_hook.found());
        },
        &script_camera};
    return setup;
}

}  // namespace realmaster
