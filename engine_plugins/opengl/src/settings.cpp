#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace realmaster::opengl {
namespace {

std::string text(const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : otherwise;
}

double number(const char* name, double low, double high, double otherwise) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return otherwise;
    char* end = nullptr;
    const double parsed = std::strtod(value, &end);
    if (*end == '\0' && parsed >= low && parsed <= high) return parsed;
    std::fprintf(stderr, "realmaster: %s=%s is no number from %g to %g; taken is %g\n", name, value,
                 low, high, otherwise);
    return otherwise;
}

Settings read() {
    Settings out;
    const std::string connect = text("REALMASTER_CONNECT", "127.0.0.1:5570");
    const std::size_t colon = connect.rfind(':');
    const long port = colon == std::string::npos ? 0 : std::atol(connect.c_str() + colon + 1);
    if (port > 0 && port < 65536) {
        out.host = connect.substr(0, colon);
        out.port = static_cast<std::uint16_t>(port);
    } else {
        std::fprintf(stderr, "realmaster: REALMASTER_CONNECT=%s is no host:port; taken is %s:%u\n",
                     connect.c_str(), out.host.c_str(), static_cast<unsigned>(out.port));
    }
    out.game = text("REALMASTER_GAME", program_invocation_short_name);
    out.token = text("REALMASTER_TOKEN", "");
    out.max_fps = number("REALMASTER_FPS", 0, 1000, 0);
    out.metres_per_unit = number("REALMASTER_METRES_PER_UNIT", 1e-6, 1e6, 1);
    out.status_path = text("REALMASTER_STATUS", "");
    return out;
}

}  // namespace

const Settings& settings() noexcept {
    static const auto* const instance = new Settings(read());
    return *instance;
}

void report(Milestone milestone, const char* detail) noexcept {
    static bool said[3] = {};
    constexpr const char* words[3] = {"swap", "world", "unsupported"};
    const auto index = static_cast<std::size_t>(milestone);
    if (said[index]) return;
    said[index] = true;
    if (milestone == Milestone::unsupported) {
        std::fprintf(stderr, "realmaster: this OpenGL context cannot be captured: %s\n", detail);
    }
    const std::string& path = settings().status_path;
    if (path.empty()) return;
    const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    char line[256];
    const int length = std::snprintf(line, sizeof line, "%s %s\n", words[index], detail);
    const auto size = static_cast<std::size_t>(std::clamp(length, 0, 255));
    if (write(file, line, size) < 0) std::perror("realmaster: status file");
    close(file);
}

}  // namespace realmaster::opengl
