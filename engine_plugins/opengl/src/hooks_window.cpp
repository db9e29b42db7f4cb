// Contexts that come, go and become current, and the swaps: GLX, EGL and SDL. A swap of SDL calls
// one of the others; only the outermost counts.
#include "capture.h"
#include "context.h"
#include "gl_calls.h"
#include "hooks.h"

#include <pthread.h>

#include <cstring>

using namespace realmaster::opengl;

namespace {

using Handle = void*;
using XId = unsigned long;
using EglInt = int;

__attribute__((tls_model("initial-exec"))) thread_local int swap_depth = 0;

// Captures before the outermost of nested swaps.
class Swap {
public:
    Swap() noexcept {
        Context* context = current_context();
        if (swap_depth++ == 0 && context != nullptr) capture().swap(context);
    }
    ~Swap() { --swap_depth; }
    Swap(const Swap&) = delete;
    Swap& operator=(const Swap&) = delete;
};

void became_current(Handle handle) noexcept {
    make_current(handle);
    Context* context = current_context();
    if (context == nullptr || context->fresh || !calls().usable) return;
    const auto* version = reinterpret_cast<const char*>(calls().GetString(gl::VERSION));
    if (version == nullptr || std::strncmp(version, "OpenGL ES", 9) == 0) return;
    context->compatibility = is_compatibility();
    context->refresh();
    context->begin_frame();
    context->watching = !capture().disabled();
}

void goes_away(Handle handle) noexcept {
    Context* context = context_of(handle);
    if (context != nullptr) capture().context_lost(context, context == current_context());
    destroyed(handle);
}

__attribute__((constructor)) void loaded() {
    pthread_atfork(nullptr, nullptr, [] { capture().forked(); });
}

__attribute__((destructor)) void unloaded() { capture().shut_down(); }

}  // namespace

RM_HOOK void glXSwapBuffers(Handle display, XId drawable) {
    const Swap swap;
    RM_REAL(glXSwapBuffers)(display, drawable);
}

RM_HOOK std::int64_t glXSwapBuffersMscOML(Handle display, XId drawable, std::int64_t target,
                                          std::int64_t divisor, std::int64_t remainder) {
    const Swap swap;
    return RM_REAL(glXSwapBuffersMscOML)(display, drawable, target, divisor, remainder);
}

RM_HOOK unsigned eglSwapBuffers(Handle display, Handle surface) {
    const Swap swap;
    return RM_REAL(eglSwapBuffers)(display, surface);
}

RM_HOOK unsigned eglSwapBuffersWithDamageKHR(Handle display, Handle surface, EglInt* rects,
                                             EglInt count) {
    const Swap swap;
    return RM_REAL(eglSwapBuffersWithDamageKHR)(display, surface, rects, count);
}

RM_HOOK unsigned eglSwapBuffersWithDamageEXT(Handle display, Handle surface, EglInt* rects,
                                             EglInt count) {
    const Swap swap;
    return RM_REAL(eglSwapBuffersWithDamageEXT)(display, surface, rects, count);
}

RM_HOOK void SDL_GL_SwapWindow(Handle window) {
    const Swap swap;
    RM_REAL(SDL_GL_SwapWindow)(window);
}

RM_HOOK int glXMakeCurrent(Handle display, XId drawable, Handle context) {
    const int made = RM_REAL(glXMakeCurrent)(display, drawable, context);
    if (made != 0) became_current(context);
    return made;
}

RM_HOOK int glXMakeContextCurrent(Handle display, XId draw, XId read, Handle context) {
    const int made = RM_REAL(glXMakeContextCurrent)(display, draw, read, context);
    if (made != 0) became_current(context);
    return made;
}

RM_HOOK unsigned eglMakeCurrent(Handle display, Handle draw, Handle read, Handle context) {
    const unsigned made = RM_REAL(eglMakeCurrent)(display, draw, read, context);
    if (made != 0) became_current(context);
    return made;
}

RM_HOOK Handle glXCreateContext(Handle display, Handle visual, Handle share, int direct) {
    Handle made = RM_REAL(glXCreateContext)(display, visual, share, direct);
    created(made, share);
    return made;
}

RM_HOOK Handle glXCreateNewContext(Handle display, Handle config, int type, Handle share,
                                   int direct) {
    Handle made = RM_REAL(glXCreateNewContext)(display, config, type, share, direct);
    created(made, share);
    return made;
}

RM_HOOK Handle glXCreateContextAttribsARB(Handle display, Handle config, Handle share, int direct,
                                          const int* attributes) {
    Handle made = RM_REAL(glXCreateContextAttribsARB)(display, config, share, direct, attributes);
    created(made, share);
    return made;
}

RM_HOOK Handle eglCreateContext(Handle display, Handle config, Handle share,
                                const EglInt* attributes) {
    Handle made = RM_REAL(eglCreateContext)(display, config, share, attributes);
    created(made, share);
    return made;
}

RM_HOOK void glXDestroyContext(Handle display, Handle context) {
    goes_away(context);
    RM_REAL(glXDestroyContext)(display, context);
}

RM_HOOK unsigned eglDestroyContext(Handle display, Handle context) {
    goes_away(context);
    return RM_REAL(eglDestroyContext)(display, context);
}
