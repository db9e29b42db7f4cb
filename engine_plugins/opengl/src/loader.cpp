// Stands before dlsym, dlvsym and the GetProcAddress functions, so that games which load OpenGL at
// run time get the hooks too. The true dlsym is found in the symbol table of the C library, since
// asking for it by its own name would find ours. Knows no OpenGL state.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <atomic>
#include <cstring>
#include <initializer_list>

#include "hooks.h"
#include "proc_address.h"

extern "C" {
#define X(name) void name();
REALMASTER_GL_HOOKS(X)
#undef X
}

namespace realmaster::opengl {
namespace {

using DlSym = void* (*)(void*, const char*);
using DlVSym = void* (*)(void*, const char*, const char*);
using Function = void (*)();
using GetProcAddress = Function (*)(const char*);

constexpr unsigned num_hooks = static_cast<unsigned>(Hook::count);
const char* const hook_names[num_hooks] = {
#define X(name) #name,
    REALMASTER_GL_HOOKS(X)
#undef X
};
const Function hook_functions[num_hooks] = {
#define X(name) &::name,
    REALMASTER_GL_HOOKS(X)
#undef X
};
std::atomic<void*> real_functions[num_hooks];

struct Wanted {
    const char* name;
    void* address;
};

// Walks one library's GNU hash table; see the "GNU hash" section of the System V gABI supplements.
void* lookup(const dl_phdr_info& library, const char* name) noexcept {
    const ElfW(Sym)* symbols = nullptr;
    const char* strings = nullptr;
    const std::uint32_t* hashes = nullptr;
    const auto base = library.dlpi_addr;
    for (int i = 0; i < library.dlpi_phnum; ++i) {
        if (library.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(base + library.dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; ++entry) {
            auto address = entry->d_un.d_ptr;
            if (address < base) address += base;
            if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(address);
            if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(address);
            if (entry->d_tag == DT_GNU_HASH) {
                hashes = reinterpret_cast<const std::uint32_t*>(address);
            }
        }
    }
    if (symbols == nullptr || strings == nullptr || hashes == nullptr) return nullptr;
    const std::uint32_t num_buckets = hashes[0], first = hashes[1], num_bloom = hashes[2];
    const std::uint32_t* buckets = hashes + 4 + num_bloom * (sizeof(ElfW(Addr)) / 4);
    const std::uint32_t* chain = buckets + num_buckets;
    std::uint32_t hash = 5381;
    for (const char* c = name; *c != '\0'; ++c) hash = hash * 33 + static_cast<unsigned char>(*c);
    std::uint32_t index = buckets[hash % num_buckets];
    if (index < first) return nullptr;
    for (;; ++index) {
        const std::uint32_t found = chain[index - first];
        if ((found | 1U) == (hash | 1U) && std::strcmp(strings + symbols[index].st_name, name) == 0) {
            return reinterpret_cast<void*>(base + symbols[index].st_value);
        }
        if ((found & 1U) != 0) return nullptr;
    }
}

int visit(dl_phdr_info* library, std::size_t, void* data) {
    const char* path = library->dlpi_name;
    if (path == nullptr) return 0;
    const char* slash = std::strrchr(path, '/');
    const char* file = slash != nullptr ? slash + 1 : path;
    if (std::strncmp(file, "libc.so", 7) != 0 && std::strncmp(file, "libdl.so", 8) != 0) return 0;
    auto* wanted = static_cast<Wanted*>(data);
    wanted->address = lookup(*library, wanted->name);
    return wanted->address != nullptr ? 1 : 0;
}

void* in_libc(const char* name) noexcept {
    Wanted wanted{name, nullptr};
    dl_iterate_phdr(visit, &wanted);
    return wanted.address;
}

DlSym real_dlsym() noexcept {
    static const auto function = reinterpret_cast<DlSym>(in_libc("dlsym"));
    return function;
}

DlVSym real_dlvsym() noexcept {
    static const auto function = reinterpret_cast<DlVSym>(in_libc("dlvsym"));
    return function;
}

bool may_be_hooked(const char* name) noexcept {
    return name != nullptr && (std::strncmp(name, "gl", 2) == 0 ||
                               std::strncmp(name, "egl", 3) == 0 ||
                               std::strncmp(name, "SDL_GL_", 7) == 0);
}

void* from_loaded_libraries(const char* name) noexcept {
    const DlSym find = real_dlsym();
    if (find == nullptr) return nullptr;
    if (void* found = find(RTLD_NEXT, name)) return found;
    for (const char* library : {"libGL.so.1", "libOpenGL.so.0", "libGLX.so.0", "libEGL.so.1",
                                "libSDL2-2.0.so.0", "libSDL3.so.0"}) {
        // Only what the game has loaded by itself, and kept loaded: handles are not given back.
        void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
        if (handle == nullptr) continue;
        if (void* found = find(handle, name)) return found;
    }
    return nullptr;
}

}  // namespace

void* hooked(const char* name, void* found) noexcept {
    if (found == nullptr || !may_be_hooked(name)) return found;
    for (unsigned i = 0; i < num_hooks; ++i) {
        if (std::strcmp(hook_names[i], name) != 0) continue;
        auto* hook = reinterpret_cast<void*>(hook_functions[i]);
        void* expected = nullptr;
        if (found != hook) real_functions[i].compare_exchange_strong(expected, found);
        return hook;
    }
    return found;
}

void* real_function(Hook hook) noexcept {
    const auto index = static_cast<unsigned>(hook);
    void* function = real_functions[index].load(std::memory_order_relaxed);
    if (function != nullptr) return function;
    function = resolve(hook_names[index]);
    real_functions[index].store(function, std::memory_order_relaxed);
    return function;
}

void* resolve(const char* name) noexcept {
    if (void* found = from_loaded_libraries(name)) return found;
    for (const char* getter : {"glXGetProcAddressARB", "eglGetProcAddress"}) {
        const auto get = reinterpret_cast<GetProcAddress>(from_loaded_libraries(getter));
        if (get == nullptr) continue;
        if (const Function found = get(name)) return reinterpret_cast<void*>(found);
    }
    return nullptr;
}

}  // namespace realmaster::opengl

// RTLD_NEXT means "after the caller": a tail call leaves the caller's return address in place.
RM_HOOK __attribute__((optimize("optimize-sibling-calls"))) void* dlsym(void* handle,
                                                                        const char* name) {
    const auto find = realmaster::opengl::real_dlsym();
    if (find == nullptr) return nullptr;
    if (handle == RTLD_NEXT || !realmaster::opengl::may_be_hooked(name)) return find(handle, name);
    return realmaster::opengl::hooked(name, find(handle, name));
}

RM_HOOK __attribute__((optimize("optimize-sibling-calls"))) void* dlvsym(void* handle,
                                                                         const char* name,
                                                                         const char* version) {
    const auto find = realmaster::opengl::real_dlvsym();
    if (find == nullptr) return nullptr;
    if (handle == RTLD_NEXT || !realmaster::opengl::may_be_hooked(name)) {
        return find(handle, name, version);
    }
    return realmaster::opengl::hooked(name, find(handle, name, version));
}
