// Direct3D 11's hooks: thin detours that tell one Capture what the game does.
#pragma once

#include "capture.h"
#include "runtime.h"

namespace realmaster::d3d11 {

// Finds the vtables with a device of its own, which it throws away, and patches them. False, with
// a line in the log, where Direct3D 11 gives no device. Not to be called from DllMain.
bool install_hooks(Log* log) noexcept;

// Whom the detours tell; null: nobody.
void set_capture(Capture* capture) noexcept;

// Patches the vtables of a context that is in use: on some drivers it is not the dummy's class.
void hook_context(ID3D11DeviceContext* context) noexcept;

// This API's row in an .asi's table.
Backend backend() noexcept;

}  // namespace realmaster::d3d11
