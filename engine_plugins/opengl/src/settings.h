// What the environment says: REALMASTER_CONNECT, _GAME, _FPS, _METRES_PER_UNIT, _TOKEN, _STATUS.
#pragma once

#include <cstdint>
#include <string>

namespace realmaster::opengl {

struct Settings {
    std::string host = "127.0.0.1";
    std::uint16_t port = 5570;
    std::string game;
    std::string token;
    double max_fps = 0;          // frames a second that are captured; 0: all
    double metres_per_unit = 1;  // of the game's units
    std::string status_path;     // a file that gets a line at each milestone
};

const Settings& settings() noexcept;

// Appends one line to the status file, once each; `realmaster run` reads it.
enum class Milestone : std::uint8_t { swap, world, unsupported };
void report(Milestone milestone, const char* detail = "") noexcept;

}  // namespace realmaster::opengl
