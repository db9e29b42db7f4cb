// What a GetProcAddress or dlsym gives to the game for a name.
#pragma once

namespace realmaster::opengl {

// The hook of `name` where there is one, and remembers `found` as the function behind it; else
// `found`. nullptr stays nullptr: what the system lacks is not offered.
void* hooked(const char* name, void* found) noexcept;

}  // namespace realmaster::opengl
