// The settings file of the Direct3D plugins: "key = value" lines, "#" and ";" comments.
// Pure: text in, settings or one line that says what is wrong out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "pixels.h"
#include "projection.h"

namespace realmaster {

struct Settings {
    std::string host = "127.0.0.1";
    std::uint16_t port = 5570;
    std::string token;
    std::string game;                // "" is the name of the program
    bool autostart = true;           // capture as soon as the scene is found
    std::uint32_t hotkey = 0x79;     // virtual key that starts and stops: F10
    bool status = true;              // a small square on the screen says what goes on
    Projection projection;           // near 0: unknown, depth_raw is sent instead of depth
    double fov_y_deg = 0.0;          // 0: unknown
    bool projection_from_camera = true;  // a camera source overrides the three above
    bool depth_raw = false;          // send device depth as well
    bool color_before_hud = true;    // where it can be told apart
    bool normals = true;
    bool stencil = false;            // send semantic, by the classes below
    StencilClasses stencil_classes;
    std::uint32_t ring = 3;          // readbacks under way at once, 1..8
    std::uint32_t pose_delay = 0;    // frames by which the camera source runs ahead, 0..3
    bool eager_poll = false;         // test: look for a readback at once after its submission
    std::string log = "realmaster.log";  // beside the plugin; "" is none
    std::string trace;               // test: one JSON line per present goes to this file
};

constexpr std::size_t max_settings_bytes = 64 * 1024;

// Reads `text` over `settings`. False, with one line in `error`, at the first line that is wrong;
// the lines before it hold.
bool read_settings(const std::string& text, Settings* settings, std::string* error);

}  // namespace realmaster
