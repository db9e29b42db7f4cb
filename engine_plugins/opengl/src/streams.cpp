#include "streams.h"

#include <cstdio>

#include "gl_calls.h"
#include "settings.h"

namespace realmaster::opengl {
namespace {

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
}

TextMap normal_params(const StreamFacts& facts) {
    if (!facts.fit.found) return {{"source", "depth"}};
    return {{"source", "gbuffer"},
            {"encoding", name_of(facts.fit.encoding)},
            {"attachment", std::to_string(facts.attachment)},
            {"agreement_10deg", number(static_cast<double>(facts.fit.agreement))},
            {"median_deg", number(static_cast<double>(facts.fit.median_deg))}};
}

}  // namespace

Config config_of(const StreamFacts& facts) {
    const Settings& set = settings();
    Config config;
    config.host = set.host;
    config.port = set.port;
    config.engine = "OpenGL";
    const auto* version = reinterpret_cast<const char*>(calls().GetString(gl::VERSION));
    config.engine_version = version != nullptr ? version : "unknown";
    config.plugin = "engine_plugins.opengl";
    config.plugin_version = "1";
    config.game = set.game;
    config.token = set.token;
    const Extent color = facts.world.framebuffer == 0 ||
                                 facts.world.trigger != Trigger::orthographic
                             ? facts.window
                             : facts.target;
    const auto add = [&config](const char* name, Extent size, DType dtype, std::uint32_t components,
                               TextMap params) {
        config.streams.push_back(
            {name, size.width, size.height, dtype, components, std::move(params)});
    };
    add("color", color, DType::u8, 4, {{"trigger", name_of(facts.world.trigger)}});
    add("color_ui", facts.window, DType::u8, 4, {});
    add("depth", facts.target, DType::f32, 1,
        {{"metres_per_unit", number(set.metres_per_unit)},
         {"framebuffer", facts.world.framebuffer == 0 ? "window" : "object"}});
    add("normal", facts.target, DType::f16, 3, normal_params(facts));
    if (facts.has_pose) {
        add("motion", facts.target, DType::f16, 2, {{"source", "camera"}});
    }
    config.params = {{"pose", facts.has_pose ? "model views" : "absent"},
                     {"world", facts.up_known ? "origin at the first camera, engine's up"
                                              : "origin and up of the first camera"},
                     {"hud_cut", name_of(facts.world.trigger)}};
    if (set.max_fps > 0) config.params.emplace_back("max_fps", number(set.max_fps));
    return config;
}

}  // namespace realmaster::opengl
