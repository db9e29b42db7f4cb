// See hooks.h.
#include "hooks.h"

#include <cstring>

#include "dummy_window.h"
#include "hook.h"
#include "vtable_slots.h"

namespace realmaster::d3d11 {

namespace {

using Context = ID3D11DeviceContext;

std::atomic<Capture*> active{nullptr};

Capture* capture() noexcept {
    return active.load(std::memory_order_acquire);
}

void STDMETHODCALLTYPE draw(Context* self, UINT count, UINT first);
void STDMETHODCALLTYPE draw_indexed(Context* self, UINT count, UINT first, INT base);
void STDMETHODCALLTYPE draw_instanced(Context* self, UINT count, UINT instances, UINT first,
                                      UINT first_instance);
void STDMETHODCALLTYPE draw_indexed_instanced(Context* self, UINT count, UINT instances, UINT first,
                                              INT base, UINT first_instance);
void STDMETHODCALLTYPE draw_indirect(Context* self, ID3D11Buffer* arguments, UINT offset);
void STDMETHODCALLTYPE draw_indexed_indirect(Context* self, ID3D11Buffer* arguments, UINT offset);
void STDMETHODCALLTYPE set_targets(Context* self, UINT count,
                                   ID3D11RenderTargetView* const* targets,
                                   ID3D11DepthStencilView* depth);
void STDMETHODCALLTYPE set_targets_and_uavs(Context* self, UINT count,
                                            ID3D11RenderTargetView* const* targets,
                                            ID3D11DepthStencilView* depth, UINT first_view,
                                            UINT views, ID3D11UnorderedAccessView* const* uavs,
                                            const UINT* counts);
void STDMETHODCALLTYPE set_blend(Context* self, ID3D11BlendState* state, const FLOAT* factor,
                                 UINT mask);
void STDMETHODCALLTYPE set_depth_state(Context* self, ID3D11DepthStencilState* state,
                                       UINT reference);
void STDMETHODCALLTYPE clear_depth(Context* self, ID3D11DepthStencilView* view, UINT flags,
                                   FLOAT depth, UINT8 stencil);
void STDMETHODCALLTYPE execute_list(Context* self, ID3D11CommandList* list, BOOL restore);
void STDMETHODCALLTYPE clear_state(Context* self);

Hook<decltype(&draw)> draw_hook(slots::context_draw, draw);
Hook<decltype(&draw_indexed)> draw_indexed_hook(slots::context_draw_indexed, draw_indexed);
Hook<decltype(&draw_instanced)> draw_instanced_hook(slots::context_draw_instanced, draw_instanced);
Hook<decltype(&draw_indexed_instanced)> draw_indexed_instanced_hook(
    slots::context_draw_indexed_instanced, draw_indexed_instanced);
Hook<decltype(&draw_indirect)> draw_indirect_hook(slots::context_draw_indirect, draw_indirect);
Hook<decltype(&draw_indexed_indirect)> draw_indexed_indirect_hook(
    slots::context_draw_indexed_indirect, draw_indexed_indirect);
Hook<decltype(&set_targets)> set_targets_hook(slots::context_set_targets, set_targets);
Hook<decltype(&set_targets_and_uavs)> set_targets_and_uavs_hook(
    slots::context_set_targets_and_uavs, set_targets_and_uavs);
Hook<decltype(&set_blend)> set_blend_hook(slots::context_set_blend, set_blend);
Hook<decltype(&set_depth_state)> set_depth_state_hook(slots::context_set_depth_state,
                                                      set_depth_state);
Hook<decltype(&clear_depth)> clear_depth_hook(slots::context_clear_depth, clear_depth);
Hook<decltype(&execute_list)> execute_list_hook(slots::context_execute_list, execute_list);
Hook<decltype(&clear_state)> clear_state_hook(slots::context_clear_state, clear_state);

void note_draw(Context* self) noexcept {
    if (Capture* there = capture()) {
        there->note_draw(self);
    }
}

void STDMETHODCALLTYPE draw(Context* self, UINT count, UINT first) {
    note_draw(self);
    draw_hook.original(self)(self, count, first);
}

void STDMETHODCALLTYPE draw_indexed(Context* self, UINT count, UINT first, INT base) {
    note_draw(self);
    draw_indexed_hook.original(self)(self, count, first, base);
}

void STDMETHODCALLTYPE draw_instanced(Context* self, UINT count, UINT instances, UINT first,
                                      UINT first_instance) {
    note_draw(self);
    draw_instanced_hook.original(self)(self, count, instances, first, first_instance);
}

void STDMETHODCALLTYPE draw_indexed_instanced(Context* self, UINT count, UINT instances, UINT first,
                                              INT base, UINT first_instance) {
    note_draw(self);
    draw_indexed_instanced_hook.original(self)(self, count, instances, first, base, first_instance);
}

void STDMETHODCALLTYPE draw_indirect(Context* self, ID3D11Buffer* arguments, UINT offset) {
    note_draw(self);
    draw_indirect_hook.original(self)(self, arguments, offset);
}

void STDMETHODCALLTYPE draw_indexed_indirect(Context* self, ID3D11Buffer* arguments, UINT offset) {
    note_draw(self);
    draw_indexed_indirect_hook.original(self)(self, arguments, offset);
}

void STDMETHODCALLTYPE set_targets(Context* self, UINT count,
                                   ID3D11RenderTargetView* const* targets,
                                   ID3D11DepthStencilView* depth) {
    set_targets_hook.original(self)(self, count, targets, depth);
    if (Capture* there = capture()) {
        there->note_bind(self, count, targets, depth);
    }
}

void STDMETHODCALLTYPE set_targets_and_uavs(Context* self, UINT count,
                                            ID3D11RenderTargetView* const* targets,
                                            ID3D11DepthStencilView* depth, UINT first_view,
                                            UINT views, ID3D11UnorderedAccessView* const* uavs,
                                            const UINT* counts) {
    set_targets_and_uavs_hook.original(self)(self, count, targets, depth, first_view, views, uavs,
                                             counts);
    Capture* there = capture();
    if (there != nullptr && count != D3D11_KEEP_RENDER_TARGETS_AND_DEPTH_STENCIL) {
        there->note_bind(self, count, targets, depth);
    }
}

void STDMETHODCALLTYPE set_blend(Context* self, ID3D11BlendState* state, const FLOAT* factor,
                                 UINT mask) {
    set_blend_hook.original(self)(self, state, factor, mask);
    if (Capture* there = capture()) {
        there->note_blend(self, state);
    }
}

void STDMETHODCALLTYPE set_depth_state(Context* self, ID3D11DepthStencilState* state,
                                       UINT reference) {
    set_depth_state_hook.original(self)(self, state, reference);
    if (Capture* there = capture()) {
        there->note_depth_state(self, state);
    }
}

void STDMETHODCALLTYPE clear_depth(Context* self, ID3D11DepthStencilView* view, UINT flags,
                                   FLOAT depth, UINT8 stencil) {
    if (Capture* there = capture()) {
        there->note_clear(self, view, flags);
    }
    clear_depth_hook.original(self)(self, view, flags, depth, stencil);
}

void STDMETHODCALLTYPE execute_list(Context* self, ID3D11CommandList* list, BOOL restore) {
    execute_list_hook.original(self)(self, list, restore);
    Capture* there = capture();
    if (there != nullptr && restore == FALSE) {
        there->note_unbind(self);
    }
}

void STDMETHODCALLTYPE clear_state(Context* self) {
    clear_state_hook.original(self)(self);
    if (Capture* there = capture()) {
        there->note_unbind(self);
    }
}

using CreateFunction = decltype(&D3D11CreateDeviceAndSwapChain);

CreateFunction create_function() noexcept {
    HMODULE module = GetModuleHandleA("d3d11.dll");
    FARPROC address =
        module != nullptr ? GetProcAddress(module, "D3D11CreateDeviceAndSwapChain") : nullptr;
    CreateFunction function = nullptr;
    std::memcpy(&function, &address, sizeof(function));
    return function;
}

}  // namespace

void hook_context(ID3D11DeviceContext* context) noexcept {
    HookBase* const hooks[] = {&draw_hook,          &draw_indexed_hook,
                               &draw_instanced_hook, &draw_indexed_instanced_hook,
                               &draw_indirect_hook, &draw_indexed_indirect_hook,
                               &set_targets_hook,   &set_targets_and_uavs_hook,
                               &set_blend_hook,     &set_depth_state_hook,
                               &clear_depth_hook,   &execute_list_hook,
                               &clear_state_hook};
    for (HookBase* hook : hooks) {
        hook->install(context);
    }
}

bool install_hooks(Log* log) noexcept {
    const DummyWindow window;
    DXGI_SWAP_CHAIN_DESC desc{};
    desc.BufferDesc.Width = desc.BufferDesc.Height = 8;
    desc.BufferDesc.Format = DXGI_FORMAT_R8G8B8A8_UNORM;
    desc.SampleDesc.Count = 1;
    desc.BufferUsage = DXGI_USAGE_RENDER_TARGET_OUTPUT;
    desc.BufferCount = 1;
    desc.OutputWindow = window.handle();
    desc.Windowed = TRUE;
    Com<IDXGISwapChain> chain;
    Com<ID3D11Device> device;
    Com<ID3D11DeviceContext> immediate;
    const CreateFunction create = create_function();
    const HRESULT result =
        create == nullptr
            ? E_FAIL
            : create(nullptr, D3D_DRIVER_TYPE_HARDWARE, nullptr, 0, nullptr, 0, D3D11_SDK_VERSION,
                     &desc, chain.out(), device.out(), nullptr, immediate.out());
    if (FAILED(result)) {
        log->line("Direct3D 11 gave no device to find its methods with (%08lx)",
                  static_cast<unsigned long>(result));
        return false;
    }
    hook_context(immediate.get());
    Com<ID3D11DeviceContext> deferred;
    if (SUCCEEDED(device->CreateDeferredContext(0, deferred.out()))) {
        hook_context(deferred.get());
    }
    return hook_swap_chain(chain.get());
}

void set_capture(Capture* there) noexcept {
    active.store(there, std::memory_order_release);
}

Backend backend() noexcept {
    return {"d3d11.dll",
            [](const Settings& settings, CameraSource* camera, Log* log) {
                return std::unique_ptr<PresentSink>(
                    std::make_unique<Capture>(settings, camera, log));
            },
            install_hooks,
            [](PresentSink* sink) { set_capture(static_cast<Capture*>(sink)); }};
}

}  // namespace realmaster::d3d11
