// A hidden window, which swap chains need; only to find their vtables with.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

namespace realmaster {

class DummyWindow {
public:
    DummyWindow() noexcept
        : handle_(CreateWindowExA(0, "STATIC", "realmaster", WS_POPUP, 0, 0, 8, 8, nullptr, nullptr,
                                  GetModuleHandleA(nullptr), nullptr)) {}
    ~DummyWindow() {
        DestroyWindow(handle_);
    }
    DummyWindow(const DummyWindow&) = delete;
    DummyWindow& operator=(const DummyWindow&) = delete;

    [[nodiscard]] HWND handle() const noexcept {
        return handle_;
    }

private:
    HWND handle_;
};

}  // namespace realmaster
