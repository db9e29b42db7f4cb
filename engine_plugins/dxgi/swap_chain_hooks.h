// The hooks that Direct3D 11 and 12 share: Present, Present1, ResizeBuffers, and the factory's
// creation of swap chains, which tells Direct3D 12's queue.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <dxgi1_4.h>

namespace realmaster {

// Who wants to know of presents: one capture per graphics API.
class PresentSink {
public:
    virtual ~PresentSink() = default;

    // Before the present, on the game's render thread. False: not a swap chain of this API.
    virtual bool present(IDXGISwapChain* chain) noexcept = 0;
    virtual void presented(HRESULT result) noexcept = 0;
    virtual void before_resize() noexcept = 0;

    // A swap chain was made with this device (Direct3D 12: its queue).
    virtual void chain_created(IUnknown* device, IDXGISwapChain* chain) noexcept {
        static_cast<void>(device);
        static_cast<void>(chain);
    }

    // Let go of the game's objects at the next present; closed() says that it has.
    virtual void request_close() noexcept = 0;
    [[nodiscard]] virtual bool closed() const noexcept = 0;
};

constexpr int max_sinks = 2;

// Sinks are asked in the order of their addition. Removing all makes the hooks pass everything on.
bool add_sink(PresentSink* sink) noexcept;
void remove_sinks() noexcept;

// Patches the vtables of a swap chain, and of the factory that made it.
bool hook_swap_chain(IDXGISwapChain* chain) noexcept;

}  // namespace realmaster
