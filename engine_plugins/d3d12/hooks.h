// Direct3D 12's hooks: thin detours that tell one Capture what the game does.
#pragma once

#include "capture.h"
#include "runtime.h"

namespace realmaster::d3d12 {

// Finds the vtables with objects of its own, which it throws away, and patches them. False, with
// a line in the log, where Direct3D 12 gives no device. Not to be called from DllMain.
bool install_hooks(Log* log) noexcept;

// Whom the detours tell; null: nobody.
void set_capture(Capture* capture) noexcept;

// This API's row in an .asi's table.
Backend backend() noexcept;

}  // namespace realmaster::d3d12
