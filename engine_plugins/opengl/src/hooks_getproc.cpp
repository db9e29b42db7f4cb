// The GetProcAddress functions of GLX, EGL and SDL: what they give is given as its hook.
#include "hooks.h"
#include "proc_address.h"

using realmaster::opengl::hooked;

using Function = void (*)();

RM_HOOK Function glXGetProcAddress(const GLubyte* name) {
    const auto real = RM_REAL(glXGetProcAddress);
    const char* text = reinterpret_cast<const char*>(name);
    return real != nullptr ? reinterpret_cast<Function>(
                                 hooked(text, reinterpret_cast<void*>(real(name))))
                           : nullptr;
}

RM_HOOK Function glXGetProcAddressARB(const GLubyte* name) {
    const auto real = RM_REAL(glXGetProcAddressARB);
    const char* text = reinterpret_cast<const char*>(name);
    return real != nullptr ? reinterpret_cast<Function>(
                                 hooked(text, reinterpret_cast<void*>(real(name))))
                           : nullptr;
}

RM_HOOK Function eglGetProcAddress(const char* name) {
    const auto real = RM_REAL(eglGetProcAddress);
    return real != nullptr ? reinterpret_cast<Function>(
                                 hooked(name, reinterpret_cast<void*>(real(name))))
                           : nullptr;
}

RM_HOOK void* SDL_GL_GetProcAddress(const char* name) {
    const auto real = RM_REAL(SDL_GL_GetProcAddress);
    return real != nullptr ? hooked(name, real(name)) : nullptr;
}
