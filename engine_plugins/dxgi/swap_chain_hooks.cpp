// See swap_chain_hooks.h.
#include "swap_chain_hooks.h"

#include <dxgi1_5.h>

#include <array>
#include <atomic>

#include "com_ptr.h"
#include "hook.h"
#include "vtable_slots.h"

namespace realmaster {

namespace {

std::array<std::atomic<PresentSink*>, max_sinks> sinks{};
std::atomic<DWORD> presenting_thread{0};

HRESULT STDMETHODCALLTYPE present(IDXGISwapChain* chain, UINT interval, UINT flags);
HRESULT STDMETHODCALLTYPE present1(IDXGISwapChain1* chain, UINT interval, UINT flags,
                                   const DXGI_PRESENT_PARAMETERS* parameters);
HRESULT STDMETHODCALLTYPE resize(IDXGISwapChain* chain, UINT count, UINT width, UINT height,
                                 DXGI_FORMAT format, UINT flags);
HRESULT STDMETHODCALLTYPE resize1(IDXGISwapChain3* chain, UINT count, UINT width, UINT height,
                                  DXGI_FORMAT format, UINT flags, const UINT* masks,
                                  IUnknown* const* queues);
HRESULT STDMETHODCALLTYPE create_chain(IDXGIFactory* factory, IUnknown* device,
                                       DXGI_SWAP_CHAIN_DESC* desc, IDXGISwapChain** chain);
HRESULT STDMETHODCALLTYPE create_chain_for_window(IDXGIFactory2* factory, IUnknown* device,
                                                  HWND window, const DXGI_SWAP_CHAIN_DESC1* desc,
                                                  const DXGI_SWAP_CHAIN_FULLSCREEN_DESC* full,
                                                  IDXGIOutput* output, IDXGISwapChain1** chain);

Hook<decltype(&present)> present_hook(slots::swap_chain_present, present);
Hook<decltype(&present1)> present1_hook(slots::swap_chain_present1, present1);
Hook<decltype(&resize)> resize_hook(slots::swap_chain_resize_buffers, resize);
Hook<decltype(&resize1)> resize1_hook(slots::swap_chain_resize_buffers1, resize1);
Hook<decltype(&create_chain)> create_hook(slots::factory_create_swap_chain, create_chain);
Hook<decltype(&create_chain_for_window)> create_for_window_hook(
    slots::factory_create_swap_chain_for_window, create_chain_for_window);

// Runs a present between the sinks' two calls. Present may call Present1 or the other way round,
// and other threads may present other swap chains: those pass.
template <typename Call>
HRESULT around_present(IDXGISwapChain* chain, UINT flags, Call call) noexcept {
    const DetourScope scope;
    DWORD nobody = 0;
    const bool test_only = (flags & DXGI_PRESENT_TEST) != 0;
    if (test_only ||
        !presenting_thread.compare_exchange_strong(nobody, GetCurrentThreadId())) {
        return call();
    }
    PresentSink* taker = nullptr;
    for (auto& entry : sinks) {
        PresentSink* sink = entry.load(std::memory_order_acquire);
        if (taker == nullptr && sink != nullptr && sink->present(chain)) {
            taker = sink;
        }
    }
    const HRESULT result = call();
    if (taker != nullptr) {
        taker->presented(result);
    }
    presenting_thread.store(0);
    return result;
}

HRESULT STDMETHODCALLTYPE present(IDXGISwapChain* chain, UINT interval, UINT flags) {
    return around_present(chain, flags, [&] {
        return present_hook.original(chain)(chain, interval, flags);
    });
}

HRESULT STDMETHODCALLTYPE present1(IDXGISwapChain1* chain, UINT interval, UINT flags,
                                   const DXGI_PRESENT_PARAMETERS* parameters) {
    return around_present(chain, flags, [&] {
        return present1_hook.original(chain)(chain, interval, flags, parameters);
    });
}

void tell_of_resize() noexcept {
    for (auto& entry : sinks) {
        if (PresentSink* sink = entry.load(std::memory_order_acquire)) {
            sink->before_resize();
        }
    }
}

HRESULT STDMETHODCALLTYPE resize(IDXGISwapChain* chain, UINT count, UINT width, UINT height,
                                 DXGI_FORMAT format, UINT flags) {
    const DetourScope scope;
    tell_of_resize();
    return resize_hook.original(chain)(chain, count, width, height, format, flags);
}

HRESULT STDMETHODCALLTYPE resize1(IDXGISwapChain3* chain, UINT count, UINT width, UINT height,
                                  DXGI_FORMAT format, UINT flags, const UINT* masks,
                                  IUnknown* const* queues) {
    const DetourScope scope;
    tell_of_resize();
    return resize1_hook.original(chain)(chain, count, width, height, format, flags, masks, queues);
}

// Another class of swap chain than the one that was patched at the start is patched here.
void tell_of_creation(IUnknown* device, IDXGISwapChain* chain) noexcept {
    hook_swap_chain(chain);
    for (auto& entry : sinks) {
        if (PresentSink* sink = entry.load(std::memory_order_acquire)) {
            sink->chain_created(device, chain);
        }
    }
}

HRESULT STDMETHODCALLTYPE create_chain(IDXGIFactory* factory, IUnknown* device,
                                       DXGI_SWAP_CHAIN_DESC* desc, IDXGISwapChain** chain) {
    const DetourScope scope;
    const HRESULT result = create_hook.original(factory)(factory, device, desc, chain);
    if (SUCCEEDED(result) && chain != nullptr && *chain != nullptr) {
        tell_of_creation(device, *chain);
    }
    return result;
}

HRESULT STDMETHODCALLTYPE create_chain_for_window(IDXGIFactory2* factory, IUnknown* device,
                                                  HWND window, const DXGI_SWAP_CHAIN_DESC1* desc,
                                                  const DXGI_SWAP_CHAIN_FULLSCREEN_DESC* full,
                                                  IDXGIOutput* output, IDXGISwapChain1** chain) {
    const DetourScope scope;
    const HRESULT result = create_for_window_hook.original(factory)(factory, device, window, desc,
                                                                    full, output, chain);
    if (SUCCEEDED(result) && chain != nullptr && *chain != nullptr) {
        tell_of_creation(device, *chain);
    }
    return result;
}

}  // namespace

bool add_sink(PresentSink* sink) noexcept {
    for (auto& entry : sinks) {
        PresentSink* none = nullptr;
        if (entry.compare_exchange_strong(none, sink)) {
            return true;
        }
    }
    return false;
}

void remove_sinks() noexcept {
    for (auto& entry : sinks) {
        entry.store(nullptr, std::memory_order_release);
    }
}

bool hook_swap_chain(IDXGISwapChain* chain) noexcept {
    bool ok = present_hook.install(chain) && resize_hook.install(chain);
    Com<IDXGISwapChain1> chain1;
    if (SUCCEEDED(chain->QueryInterface(IID_IDXGISwapChain1, chain1.out_void()))) {
        ok = present1_hook.install(chain1.get()) && ok;
    }
    Com<IDXGISwapChain3> chain3;
    if (SUCCEEDED(chain->QueryInterface(IID_IDXGISwapChain3, chain3.out_void()))) {
        ok = resize1_hook.install(chain3.get()) && ok;
    }
    Com<IDXGIFactory> factory;
    if (SUCCEEDED(chain->GetParent(IID_IDXGIFactory, factory.out_void()))) {
        ok = create_hook.install(factory.get()) && ok;
        Com<IDXGIFactory2> factory2;
        if (SUCCEEDED(factory->QueryInterface(IID_IDXGIFactory2, factory2.out_void()))) {
            ok = create_for_window_hook.install(factory2.get()) && ok;
        }
    }
    return ok;
}

}  // namespace realmaster
