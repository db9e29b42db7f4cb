// Whether this process may be captured: single player only.
#pragma once

#include <string>

namespace realmaster::gtav {

// Pure, for tests: a line that says why not, or null. script_hook: whether the natives can tell.
const char* reason_against(const std::string& program, const std::string& command_line,
                           bool anti_cheat_loaded, bool script_hook) noexcept;

// The same of this process.
const char* reason_against_this_process(bool script_hook) noexcept;

}  // namespace realmaster::gtav
