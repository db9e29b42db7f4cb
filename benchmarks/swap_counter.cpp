// Counts a program's swaps into a mapped file, so that its frames/s are known with and without the
// interposer alike: LD_PRELOAD with SWAP_COUNTER=path. Built by benchmarks/opengl.py.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

thread_local int depth = 0;  // SDL's swap calls the window system's: counted once

std::atomic<std::uint64_t>* counter() {
    static auto* const mapped = [] {
        const char* path = std::getenv("SWAP_COUNTER");
        const int file = path != nullptr ? open(path, O_RDWR | O_CLOEXEC) : -1;
        void* at = file < 0 ? MAP_FAILED
                            : mmap(nullptr, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        static std::atomic<std::uint64_t> nowhere{0};
        return at == MAP_FAILED ? &nowhere : static_cast<std::atomic<std::uint64_t>*>(at);
    }();
    return mapped;
}

}  // namespace

#define COUNTED(name, parameters, arguments)                                        \
    extern "C" void name parameters {                                               \
        static auto* const real =                                                   \
            reinterpret_cast<void(*) parameters>(dlsym(RTLD_NEXT, #name));          \
        if (depth++ == 0) counter()->fetch_add(1);                                  \
        real arguments;                                                             \
        --depth;                                                                    \
    }
COUNTED(glXSwapBuffers, (void* display, unsigned long drawable), (display, drawable))
COUNTED(SDL_GL_SwapWindow, (void* window), (window))
