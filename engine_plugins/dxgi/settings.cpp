// See settings.h.
#include "settings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>

namespace realmaster {

namespace {

constexpr std::size_t max_text = 260;

std::string trimmed(const std::string& text) {
    const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    const auto first = std::find_if_not(text.begin(), text.end(), space);
    const auto last = std::find_if_not(text.rbegin(), text.rend(), space).base();
    return first < last ? std::string(first, last) : std::string();
}

bool read_value(const std::string& text, bool* out) {
    const bool yes = text == "yes" || text == "true" || text == "on" || text == "1";
    const bool no = text == "no" || text == "false" || text == "off" || text == "0";
    *out = yes;
    return yes || no;
}

bool read_value(const std::string& text, double* out) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    *out = value;
    return !text.empty() && *end == '\0' && !std::isnan(value) && value >= 0.0;
}

bool read_value(const std::string& text, std::uint32_t* out) {
    char* end = nullptr;
    const unsigned long value = std::strtoul(text.c_str(), &end, 0);
    *out = static_cast<std::uint32_t>(value);
    return !text.empty() && text[0] != '-' && *end == '\0' && value <= 0xFFFFFFUL;
}

bool read_value(const std::string& text, std::uint16_t* out) {
    std::uint32_t value = 0;
    const bool ok = read_value(text, &value) && value > 0 && value <= 65535;
    *out = static_cast<std::uint16_t>(value);
    return ok;
}

bool read_value(const std::string& text, std::string* out) {
    *out = text;
    return text.size() <= max_text;
}

// "0:0, 1:7, 3:4": stencil value to class id; what is not named is class 0.
bool read_value(const std::string& text, std::array<std::uint8_t, 16>* out) {
    std::array<std::uint8_t, 16> table{};
    const char* at = text.c_str();
    while (*at != '\0') {
        char* end = nullptr;
        const unsigned long value = std::strtoul(at, &end, 0);
        if (end == at || *end != ':' || value > 15) {
            return false;
        }
        at = end + 1;
        const unsigned long id = std::strtoul(at, &end, 0);
        if (end == at || id > 255) {
            return false;
        }
        table[value] = static_cast<std::uint8_t>(id);
        at = end;
        while (*at == ' ' || *at == ',') {
            ++at;
        }
    }
    *out = table;
    return true;
}

using Reader = bool (*)(const std::string&, Settings*);

struct Key {
    const char* name;
    Reader read;
    const char* says;
};

constexpr const char* yes_or_no = "yes or no";
constexpr const char* a_number = "a number of 0 or more";
constexpr const char* a_text = "at most 260 characters";

const std::array<Key, 23> keys{{
    {"host", [](auto& t, auto* s) { return read_value(t, &s->host); }, a_text},
    {"port", [](auto& t, auto* s) { return read_value(t, &s->port); }, "1 to 65535"},
    {"token", [](auto& t, auto* s) { return read_value(t, &s->token); }, a_text},
    {"game", [](auto& t, auto* s) { return read_value(t, &s->game); }, a_text},
    {"autostart", [](auto& t, auto* s) { return read_value(t, &s->autostart); }, yes_or_no},
    {"hotkey", [](auto& t, auto* s) { return read_value(t, &s->hotkey) && s->hotkey < 256; },
     "a virtual key code, 0x79 is F10, 0 is none"},
    {"status", [](auto& t, auto* s) { return read_value(t, &s->status); }, yes_or_no},
    {"near", [](auto& t, auto* s) { return read_value(t, &s->projection.near_m); },
     "metres; 0 is unknown"},
    {"far", [](auto& t, auto* s) { return read_value(t, &s->projection.far_m); },
     "metres, or inf"},
    {"reversed_z", [](auto& t, auto* s) { return read_value(t, &s->projection.reversed_z); },
     yes_or_no},
    {"fov_y", [](auto& t, auto* s) { return read_value(t, &s->fov_y_deg) && s->fov_y_deg < 180; },
     "degrees below 180; 0 is unknown"},
    {"projection_from_camera",
     [](auto& t, auto* s) { return read_value(t, &s->projection_from_camera); }, yes_or_no},
    {"depth_raw", [](auto& t, auto* s) { return read_value(t, &s->depth_raw); }, yes_or_no},
    {"color_before_hud", [](auto& t, auto* s) { return read_value(t, &s->color_before_hud); },
     yes_or_no},
    {"normals", [](auto& t, auto* s) { return read_value(t, &s->normals); }, yes_or_no},
    {"stencil", [](auto& t, auto* s) { return read_value(t, &s->stencil); }, yes_or_no},
    {"stencil_mask",
     [](auto& t, auto* s) {
         std::uint32_t mask = 0;
         const bool ok = read_value(t, &mask) && mask < 16;
         s->stencil_classes.mask = static_cast<std::uint8_t>(mask);
         return ok;
     },
     "0 to 15"},
    {"stencil_classes",
     [](auto& t, auto* s) { return read_value(t, &s->stencil_classes.class_of); },
     "pairs value:class, such as 0:0, 1:7"},
    {"ring",
     [](auto& t, auto* s) { return read_value(t, &s->ring) && s->ring >= 1 && s->ring <= 8; },
     "1 to 8"},
    {"pose_delay",
     [](auto& t, auto* s) { return read_value(t, &s->pose_delay) && s->pose_delay <= 3; },
     "0 to 3 frames"},
    {"eager_poll", [](auto& t, auto* s) { return read_value(t, &s->eager_poll); }, yes_or_no},
    {"log", [](auto& t, auto* s) { return read_value(t, &s->log); }, a_text},
    {"trace", [](auto& t, auto* s) { return read_value(t, &s->trace); }, a_text},
}};

bool read_line(const std::string& line, Settings* settings, std::string* error) {
    const std::size_t equals = line.find('=');
    const std::string name = trimmed(line.substr(0, equals));
    if (equals == std::string::npos) {
        *error = "expected key = value, not \"" + name.substr(0, 60) + "\"";
        return false;
    }
    for (const Key& key : keys) {
        if (name == key.name) {
            Settings changed = *settings;
            if (!key.read(trimmed(line.substr(equals + 1)), &changed)) {
                *error = name + " must be " + key.says;
                return false;
            }
            *settings = changed;
            return true;
        }
    }
    *error = "there is no setting \"" + name.substr(0, 60) + "\"";
    return false;
}

}  // namespace

bool read_settings(const std::string& text, Settings* settings, std::string* error) {
    if (text.size() > max_settings_bytes) {
        *error = "the settings file is longer than 64 KiB";
        return false;
    }
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = text.find('\n', begin);
        end = end == std::string::npos ? text.size() : end;
        const std::string line = trimmed(text.substr(begin, end - begin));
        begin = end + 1;
        ++number;
        if (line.empty() || line[0] == '#' || line[0] == ';' || line[0] == '[') {
            continue;
        }
        if (!read_line(line, settings, error)) {
            *error = "line " + std::to_string(number) + ": " + *error;
            return false;
        }
    }
    const Projection& projection = settings->projection;
    if (projection.near_m > 0.0 && projection.far_m <= projection.near_m) {
        *error = "far must be more than near";
        settings->projection = {};
        return false;
    }
    return true;
}

}  // namespace realmaster
