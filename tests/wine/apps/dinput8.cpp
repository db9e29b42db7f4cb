// A stand-in for the ASI loader that players use: a dinput8.dll that loads every .asi beside it.
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <unknwn.h>

#include <string>

namespace {

DWORD WINAPI load_all(void* self) {
    char path[MAX_PATH] = {};
    GetModuleFileNameA(static_cast<HMODULE>(self), path, MAX_PATH);
    std::string folder(path);
    folder.resize(folder.find_last_of('\\') + 1);
    WIN32_FIND_DATAA found;
    HANDLE search = FindFirstFileA((folder + "*.asi").c_str(), &found);
    if (search != INVALID_HANDLE_VALUE) {
        do {
            LoadLibraryA((folder + found.cFileName).c_str());
        } while (FindNextFileA(search, &found));
        FindClose(search);
    }
    return 0;
}

}  // namespace

extern "C" __declspec(dllexport) HRESULT WINAPI DirectInput8Create(HINSTANCE, DWORD, REFIID, void**,
                                                                   IUnknown*) {
    return E_NOTIMPL;
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void*) {
    if (reason == DLL_PROCESS_ATTACH) {
        load_all(self);  // as the real loaders do: within the loader's lock
    }
    return TRUE;
}
