// See log.h.
#include "log.h"

#include <cstdarg>

namespace realmaster {

Log::~Log() {
    if (file_ != nullptr) {
        std::fclose(file_);
    }
}

void Log::open(const std::string& path) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (file_ == nullptr && !path.empty()) {
        file_ = std::fopen(path.c_str(), "w");
    }
}

void Log::line(const char* format, ...) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (file_ == nullptr || lines_ >= max_lines) {
        return;
    }
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(file_, format, arguments);
    va_end(arguments);
    ++lines_;
    std::fputs(lines_ == max_lines ? "\n(the log is full)\n" : "\n", file_);
    std::fflush(file_);
}

}  // namespace realmaster
