// See runtime.h. Exports realmaster_ready and realmaster_unload for loaders and tests.
#include "runtime.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <string>

#include "hook.h"

namespace realmaster {

namespace {

constexpr DWORD poll_ms = 10;
constexpr DWORD let_go_ms = 2000;   // how long the game may take to present once more
constexpr DWORD grace_ms = 100;     // for detours that are not counted: draws
constexpr int max_backends = 4;

HMODULE self = nullptr;
HANDLE stop_event = nullptr;
std::atomic<int> installed{0};

std::string folder_of_self() {
    char path[MAX_PATH] = {};
    GetModuleFileNameA(self, path, MAX_PATH);
    const std::string text(path);
    return text.substr(0, text.find_last_of("/\\") + 1);
}

std::string name_of_program() {
    char path[MAX_PATH] = {};
    GetModuleFileNameA(nullptr, path, MAX_PATH);
    const std::string text(path);
    return text.substr(text.find_last_of("/\\") + 1);
}

std::string read_file(const std::string& path) {
    std::string text;
    if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
        text.resize(max_settings_bytes + 1);
        text.resize(std::fread(&text[0], 1, text.size(), file));
        std::fclose(file);
    }
    return text;
}

Settings load_settings(Log* log) {
    const std::string folder = folder_of_self();
    const std::string path = folder + game_setup().settings_file;
    Settings settings = game_setup().defaults;
    std::string error;
    const bool ok = read_settings(read_file(path), &settings, &error);
    if (!settings.log.empty()) {
        log->open(folder + settings.log);
    }
    if (!ok) {
        log->line("%s: %s", path.c_str(), error.c_str());
    }
    if (settings.game.empty()) {
        settings.game = name_of_program();
    }
    return settings;
}

// Hooks what is loaded and not hooked yet.
void install_backends(std::array<std::unique_ptr<PresentSink>, max_backends>* sinks,
                      const Settings& settings, Log* log) {
    for (int i = 0; i < num_backends && i < max_backends; ++i) {
        const Backend& backend = backends[i];
        auto& sink = (*sinks)[static_cast<std::size_t>(i)];
        if (sink != nullptr || GetModuleHandleA(backend.module) == nullptr) {
            continue;
        }
        sink = backend.make(settings, game_setup().camera, log);
        backend.attach(sink.get());  // first: what is made from now on must be seen
        const bool ok = backend.install(log) && add_sink(sink.get());
        log->line("%s: %s", backend.module, ok ? "hooked" : "could not be hooked");
        installed.fetch_add(ok ? 1 : 0, std::memory_order_acq_rel);
    }
}

// True where no code of this library can be running any more.
bool remove_hooks(std::array<std::unique_ptr<PresentSink>, max_backends>* sinks, Log* log) {
    for (auto& sink : *sinks) {
        if (sink != nullptr) {
            sink->request_close();
        }
    }
    for (DWORD waited = 0; waited < let_go_ms; waited += poll_ms) {
        bool closed = true;
        for (auto& sink : *sinks) {
            closed = closed && (sink == nullptr || sink->closed());
        }
        if (closed) {
            break;
        }
        Sleep(poll_ms);
    }
    remove_sinks();
    for (int i = 0; i < num_backends && i < max_backends; ++i) {
        backends[i].attach(nullptr);
    }
    const bool restored = HookBase::restore_all();
    while (DetourScope::active().load(std::memory_order_acquire) != 0) {
        Sleep(poll_ms);
    }
    Sleep(grace_ms);
    if (!restored) {
        log->line("another overlay hooked above this one: the library stays loaded, inactive");
    }
    return restored;
}

DWORD WINAPI run(void*) {
    HMODULE held = nullptr;  // a loader's FreeLibrary must not take the code from under its hooks
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, reinterpret_cast<LPCSTR>(&self),
                       &held);
    bool may_unload = true;
    {
        Log log;
        const Settings settings = load_settings(&log);
        std::array<std::unique_ptr<PresentSink>, max_backends> sinks;
        if (const char* reason = game_setup().forbids()) {
            log.line("%s", reason);
            installed.store(-1, std::memory_order_release);
            WaitForSingleObject(stop_event, INFINITE);
        } else {
            do {
                install_backends(&sinks, settings, &log);
            } while (WaitForSingleObject(stop_event, poll_ms) == WAIT_TIMEOUT);
            may_unload = remove_hooks(&sinks, &log);
        }
    }
    installed.store(0, std::memory_order_release);
    if (may_unload) {
        game_setup().on_unload(self);
        FreeLibraryAndExitThread(held, 0);
    }
    return 0;
}

}  // namespace

}  // namespace realmaster

// How many graphics APIs are hooked; 0: none yet, negative: refused.
extern "C" __declspec(dllexport) int realmaster_ready() {
    return realmaster::installed.load(std::memory_order_acquire);
}

// Takes the hooks out and unloads the library, soon. The game goes on.
extern "C" __declspec(dllexport) void realmaster_unload() {
    SetEvent(realmaster::stop_event);
}

BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void* process_ends) {
    using namespace realmaster;
    if (reason == DLL_PROCESS_ATTACH) {
        self = module;
        DisableThreadLibraryCalls(module);
        stop_event = CreateEventA(nullptr, TRUE, FALSE, nullptr);
        game_setup().on_load(module);
        CloseHandle(CreateThread(nullptr, 0, run, nullptr, 0, nullptr));
    } else if (reason == DLL_PROCESS_DETACH && process_ends == nullptr) {
        CloseHandle(stop_event);
    }
    return TRUE;
}
