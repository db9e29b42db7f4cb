// A bounded log file beside the plugin, one line per event, for people who look for a fault.
#pragma once

#include <cstdio>
#include <mutex>
#include <string>

namespace realmaster {

class Log {
public:
    static constexpr int max_lines = 500;

    Log() = default;
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    // Starts the file anew. A file that cannot be written is no log, and no error.
    void open(const std::string& path) noexcept;

    // printf; a newline is added.
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    void line(const char* format, ...) noexcept;

private:
    std::mutex mutex_;
    std::FILE* file_ = nullptr;
    int lines_ = 0;
};

}  // namespace realmaster
