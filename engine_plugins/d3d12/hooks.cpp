// See hooks.h.
#include "hooks.h"

#include <cstring>

#include "dummy_window.h"
#include "hook.h"
#include "vtable_slots.h"

namespace realmaster::d3d12 {

namespace {

using Device = ID3D12Device;
using List = ID3D12GraphicsCommandList;
using Queue = ID3D12CommandQueue;
using Handle = D3D12_CPU_DESCRIPTOR_HANDLE;

std::atomic<Capture*> active{nullptr};

// The capture to tell; null also inside our own calls.
Capture* capture() noexcept {
    Capture* there = active.load(std::memory_order_acquire);
    return there != nullptr && !there->ours() ? there : nullptr;
}

std::uint64_t id_of(const void* object) noexcept {
    return reinterpret_cast<std::uint64_t>(object);
}

void STDMETHODCALLTYPE execute(Queue* self, UINT count, ID3D12CommandList* const* lists);
HRESULT STDMETHODCALLTYPE reset(List* self, ID3D12CommandAllocator* allocator,
                                ID3D12PipelineState* pipeline);
void STDMETHODCALLTYPE draw(List* self, UINT count, UINT instances, UINT first,
                            UINT first_instance);
void STDMETHODCALLTYPE draw_indexed(List* self, UINT count, UINT instances, UINT first, INT base,
                                    UINT first_instance);
void STDMETHODCALLTYPE indirect(List* self, ID3D12CommandSignature* signature, UINT count,
                                ID3D12Resource* arguments, UINT64 offset, ID3D12Resource* counts,
                                UINT64 counts_offset);
void STDMETHODCALLTYPE set_pipeline(List* self, ID3D12PipelineState* pipeline);
void STDMETHODCALLTYPE barrier(List* self, UINT count, const D3D12_RESOURCE_BARRIER* barriers);
void STDMETHODCALLTYPE bundle(List* self, List* inner);
void STDMETHODCALLTYPE set_targets(List* self, UINT count, const Handle* targets, BOOL one_range,
                                   const Handle* depth);
void STDMETHODCALLTYPE clear_depth(List* self, Handle view, D3D12_CLEAR_FLAGS flags, FLOAT depth,
                                   UINT8 stencil, UINT count, const D3D12_RECT* rects);
HRESULT STDMETHODCALLTYPE create_pipeline(Device* self,
                                          const D3D12_GRAPHICS_PIPELINE_STATE_DESC* desc,
                                          REFIID iid, void** pipeline);
void STDMETHODCALLTYPE create_target_view(Device* self, ID3D12Resource* texture,
                                          const D3D12_RENDER_TARGET_VIEW_DESC* desc, Handle to);
void STDMETHODCALLTYPE create_depth_view(Device* self, ID3D12Resource* texture,
                                         const D3D12_DEPTH_STENCIL_VIEW_DESC* desc, Handle to);
void STDMETHODCALLTYPE copy_descriptors(Device* self, UINT num_to, const Handle* to,
                                        const UINT* to_sizes, UINT num_from, const Handle* from,
                                        const UINT* from_sizes, D3D12_DESCRIPTOR_HEAP_TYPE type);
void STDMETHODCALLTYPE copy_descriptors_simple(Device* self, UINT count, Handle to, Handle from,
                                               D3D12_DESCRIPTOR_HEAP_TYPE type);
HRESULT STDMETHODCALLTYPE create_committed(Device* self, const D3D12_HEAP_PROPERTIES* heap,
                                           D3D12_HEAP_FLAGS flags, const D3D12_RESOURCE_DESC* desc,
                                           D3D12_RESOURCE_STATES state,
                                           const D3D12_CLEAR_VALUE* clear, REFIID iid, void** made);
HRESULT STDMETHODCALLTYPE create_placed(Device* self, ID3D12Heap* heap, UINT64 offset,
                                        const D3D12_RESOURCE_DESC* desc,
                                        D3D12_RESOURCE_STATES state,
                                        const D3D12_CLEAR_VALUE* clear, REFIID iid, void** made);

Hook<decltype(&execute)> execute_hook(slots::queue12_execute, execute);
Hook<decltype(&reset)> reset_hook(slots::list12_reset, reset);
Hook<decltype(&draw)> draw_hook(slots::list12_draw, draw);
Hook<decltype(&draw_indexed)> draw_indexed_hook(slots::list12_draw_indexed, draw_indexed);
Hook<decltype(&indirect)> indirect_hook(slots::list12_indirect, indirect);
Hook<decltype(&set_pipeline)> set_pipeline_hook(slots::list12_set_pipeline, set_pipeline);
Hook<decltype(&barrier)> barrier_hook(slots::list12_barrier, barrier);
Hook<decltype(&bundle)> bundle_hook(slots::list12_bundle, bundle);
Hook<decltype(&set_targets)> set_targets_hook(slots::list12_set_targets, set_targets);
Hook<decltype(&clear_depth)> clear_depth_hook(slots::list12_clear_depth, clear_depth);
Hook<decltype(&create_pipeline)> create_pipeline_hook(slots::device12_create_pipeline,
                                                      create_pipeline);
Hook<decltype(&create_target_view)> create_target_view_hook(slots::device12_create_target_view,
                                                            create_target_view);
Hook<decltype(&create_depth_view)> create_depth_view_hook(slots::device12_create_depth_view,
                                                          create_depth_view);
Hook<decltype(&copy_descriptors)> copy_descriptors_hook(slots::device12_copy_descriptors,
                                                        copy_descriptors);
Hook<decltype(&copy_descriptors_simple)> copy_descriptors_simple_hook(
    slots::device12_copy_descriptors_simple, copy_descriptors_simple);
Hook<decltype(&create_committed)> create_committed_hook(slots::device12_create_committed,
                                                        create_committed);
Hook<decltype(&create_placed)> create_placed_hook(slots::device12_create_placed, create_placed);

// Lists may be of another class than the dummy's (another type, another layer).
void hook_list(ID3D12CommandList* list) noexcept {
    HookBase* const hooks[] = {&reset_hook,        &draw_hook,    &draw_indexed_hook,
                               &indirect_hook,     &set_pipeline_hook, &barrier_hook,
                               &bundle_hook,       &set_targets_hook,  &clear_depth_hook};
    for (HookBase* hook : hooks) {
        hook->install(list);
    }
}

// --- the queue -------------------------------------------------------------------------------

// Lists are executed one after the other as they were given, with ours between two of them where
// a picture has to be copied before the next list draws over it.
void STDMETHODCALLTYPE execute(Queue* self, UINT count, ID3D12CommandList* const* lists) {
    const DetourScope scope;
    Capture* there = capture();
    const auto original = execute_hook.original(self);
    UINT done = 0;
    for (UINT i = 0; there != nullptr && i < count; ++i) {
        hook_list(lists[i]);
        if (there->begins_hud(self, lists[i])) {
            if (i > done) {
                original(self, i - done, lists + done);
                done = i;
            }
            there->copy_color(self);
        }
        there->executed(self, lists[i]);
    }
    if (count > done || count == 0) {
        original(self, count - done, lists + done);
    }
}

// --- lists -----------------------------------------------------------------------------------

HRESULT STDMETHODCALLTYPE reset(List* self, ID3D12CommandAllocator* allocator,
                                ID3D12PipelineState* pipeline) {
    const HRESULT result = reset_hook.original(self)(self, allocator, pipeline);
    if (Capture* there = capture()) {
        there->tracker().list_reset(id_of(self));
        if (pipeline != nullptr) {
            there->tracker().list_pipeline(id_of(self), id_of(pipeline));
        }
    }
    return result;
}

void STDMETHODCALLTYPE draw(List* self, UINT count, UINT instances, UINT first,
                            UINT first_instance) {
    if (Capture* there = capture()) {
        there->tracker().list_draw(id_of(self));
    }
    draw_hook.original(self)(self, count, instances, first, first_instance);
}

void STDMETHODCALLTYPE draw_indexed(List* self, UINT count, UINT instances, UINT first, INT base,
                                    UINT first_instance) {
    if (Capture* there = capture()) {
        there->tracker().list_draw(id_of(self));
    }
    draw_indexed_hook.original(self)(self, count, instances, first, base, first_instance);
}

void STDMETHODCALLTYPE indirect(List* self, ID3D12CommandSignature* signature, UINT count,
                                ID3D12Resource* arguments, UINT64 offset, ID3D12Resource* counts,
                                UINT64 counts_offset) {
    if (Capture* there = capture()) {
        there->tracker().list_draw(id_of(self));  // how many draws it holds only the GPU knows
    }
    indirect_hook.original(self)(self, signature, count, arguments, offset, counts, counts_offset);
}

void STDMETHODCALLTYPE set_pipeline(List* self, ID3D12PipelineState* pipeline) {
    if (Capture* there = capture()) {
        there->tracker().list_pipeline(id_of(self), id_of(pipeline));
    }
    set_pipeline_hook.original(self)(self, pipeline);
}

void STDMETHODCALLTYPE barrier(List* self, UINT count, const D3D12_RESOURCE_BARRIER* barriers) {
    if (Capture* there = capture()) {
        for (UINT i = 0; i < count; ++i) {
            there->note_barrier(self, barriers[i]);
        }
    }
    barrier_hook.original(self)(self, count, barriers);
}

void STDMETHODCALLTYPE bundle(List* self, List* inner) {
    if (Capture* there = capture()) {
        there->tracker().list_bundle(id_of(self), id_of(inner));
    }
    bundle_hook.original(self)(self, inner);
}

void STDMETHODCALLTYPE set_targets(List* self, UINT count, const Handle* targets, BOOL one_range,
                                   const Handle* depth) {
    if (Capture* there = capture()) {
        there->note_targets(self, count, targets, one_range, depth);
    }
    set_targets_hook.original(self)(self, count, targets, one_range, depth);
}

void STDMETHODCALLTYPE clear_depth(List* self, Handle view, D3D12_CLEAR_FLAGS flags, FLOAT depth,
                                   UINT8 stencil, UINT count, const D3D12_RECT* rects) {
    Capture* there = capture();
    if (there != nullptr && (flags & D3D12_CLEAR_FLAG_DEPTH) != 0 && count == 0) {
        there->note_clear(self, view);
    }
    clear_depth_hook.original(self)(self, view, flags, depth, stencil, count, rects);
}

// --- the device ------------------------------------------------------------------------------

HRESULT STDMETHODCALLTYPE create_pipeline(Device* self,
                                          const D3D12_GRAPHICS_PIPELINE_STATE_DESC* desc,
                                          REFIID iid, void** pipeline) {
    const HRESULT result = create_pipeline_hook.original(self)(self, desc, iid, pipeline);
    Capture* there = capture();
    if (SUCCEEDED(result) && there != nullptr && pipeline != nullptr) {
        there->tracker().pipeline_made(id_of(*pipeline),
                                       desc->BlendState.RenderTarget[0].BlendEnable != FALSE,
                                       desc->DepthStencilState.DepthEnable != FALSE);
    }
    return result;
}

void STDMETHODCALLTYPE create_target_view(Device* self, ID3D12Resource* texture,
                                          const D3D12_RENDER_TARGET_VIEW_DESC* desc, Handle to) {
    if (Capture* there = capture()) {
        there->tracker().view_made(to.ptr, id_of(texture));
    }
    create_target_view_hook.original(self)(self, texture, desc, to);
}

void STDMETHODCALLTYPE create_depth_view(Device* self, ID3D12Resource* texture,
                                         const D3D12_DEPTH_STENCIL_VIEW_DESC* desc, Handle to) {
    if (Capture* there = capture()) {
        there->tracker().view_made(to.ptr, id_of(texture));
    }
    create_depth_view_hook.original(self)(self, texture, desc, to);
}

bool holds_targets(D3D12_DESCRIPTOR_HEAP_TYPE type) noexcept {
    return type == D3D12_DESCRIPTOR_HEAP_TYPE_RTV || type == D3D12_DESCRIPTOR_HEAP_TYPE_DSV;
}

void STDMETHODCALLTYPE copy_descriptors(Device* self, UINT num_to, const Handle* to,
                                        const UINT* to_sizes, UINT num_from, const Handle* from,
                                        const UINT* from_sizes, D3D12_DESCRIPTOR_HEAP_TYPE type) {
    Capture* there = holds_targets(type) ? capture() : nullptr;
    if (there != nullptr) {
        const UINT step = self->GetDescriptorHandleIncrementSize(type);
        UINT source = 0;
        UINT in_source = 0;
        for (UINT range = 0; range < num_to && source < num_from; ++range) {
            const UINT size = to_sizes != nullptr ? to_sizes[range] : 1;
            for (UINT i = 0; i < size && source < num_from; ++i) {
                there->tracker().views_copied(to[range].ptr + std::uint64_t{i} * step,
                                              from[source].ptr + std::uint64_t{in_source} * step,
                                              1, step);
                if (++in_source == (from_sizes != nullptr ? from_sizes[source] : 1)) {
                    in_source = 0;
                    ++source;
                }
            }
        }
    }
    copy_descriptors_hook.original(self)(self, num_to, to, to_sizes, num_from, from, from_sizes,
                                         type);
}

void STDMETHODCALLTYPE copy_descriptors_simple(Device* self, UINT count, Handle to, Handle from,
                                               D3D12_DESCRIPTOR_HEAP_TYPE type) {
    Capture* there = holds_targets(type) ? capture() : nullptr;
    if (there != nullptr) {
        there->tracker().views_copied(to.ptr, from.ptr, count,
                                      self->GetDescriptorHandleIncrementSize(type));
    }
    copy_descriptors_simple_hook.original(self)(self, count, to, from, type);
}

HRESULT STDMETHODCALLTYPE create_committed(Device* self, const D3D12_HEAP_PROPERTIES* heap,
                                           D3D12_HEAP_FLAGS flags, const D3D12_RESOURCE_DESC* desc,
                                           D3D12_RESOURCE_STATES state,
                                           const D3D12_CLEAR_VALUE* clear, REFIID iid,
                                           void** made) {
    const HRESULT result =
        create_committed_hook.original(self)(self, heap, flags, desc, state, clear, iid, made);
    Capture* there = capture();
    if (SUCCEEDED(result) && there != nullptr && made != nullptr) {
        there->note_texture(static_cast<ID3D12Resource*>(*made), *desc, state);
    }
    return result;
}

HRESULT STDMETHODCALLTYPE create_placed(Device* self, ID3D12Heap* heap, UINT64 offset,
                                        const D3D12_RESOURCE_DESC* desc,
                                        D3D12_RESOURCE_STATES state,
                                        const D3D12_CLEAR_VALUE* clear, REFIID iid, void** made) {
    const HRESULT result =
        create_placed_hook.original(self)(self, heap, offset, desc, state, clear, iid, made);
    Capture* there = capture();
    if (SUCCEEDED(result) && there != nullptr && made != nullptr) {
        there->note_texture(static_cast<ID3D12Resource*>(*made), *desc, state);
    }
    return result;
}

// --- finding the vtables ---------------------------------------------------------------------

template <typename Function>
Function function_of(const char* module, const char* name) noexcept {
    HMODULE loaded = LoadLibraryA(module);
    FARPROC address = loaded != nullptr ? GetProcAddress(loaded, name) : nullptr;
    Function function = nullptr;
    std::memcpy(&function, &address, sizeof(function));
    return function;
}

// Objects of our own, of the classes that the game's will have.
struct Dummies {
    Com<ID3D12Device> device;
    Com<ID3D12CommandQueue> queue;
    Com<ID3D12CommandAllocator> allocator;
    Com<ID3D12GraphicsCommandList> list;
    Com<IDXGIFactory2> factory;
    Com<IDXGISwapChain1> chain;

    bool open(HWND window) noexcept {
        const auto create_device =
            function_of<decltype(&D3D12CreateDevice)>("d3d12.dll", "D3D12CreateDevice");
        using CreateFactory = HRESULT(WINAPI*)(REFIID, void**);
        const auto create_factory = function_of<CreateFactory>("dxgi.dll", "CreateDXGIFactory1");
        const D3D12_COMMAND_QUEUE_DESC direct{D3D12_COMMAND_LIST_TYPE_DIRECT, 0,
                                              D3D12_COMMAND_QUEUE_FLAG_NONE, 0};
        DXGI_SWAP_CHAIN_DESC1 desc{};
        desc.Width = desc.Height = 8;
        desc.Format = DXGI_FORMAT_R8G8B8A8_UNORM;
        desc.SampleDesc.Count = 1;
        desc.BufferUsage = DXGI_USAGE_RENDER_TARGET_OUTPUT;
        desc.BufferCount = 2;
        desc.SwapEffect = DXGI_SWAP_EFFECT_FLIP_DISCARD;
        return create_device != nullptr && create_factory != nullptr &&
               SUCCEEDED(create_device(nullptr, D3D_FEATURE_LEVEL_11_0, IID_ID3D12Device,
                                       device.out_void())) &&
               SUCCEEDED(device->CreateCommandQueue(&direct, IID_ID3D12CommandQueue,
                                                    queue.out_void())) &&
               SUCCEEDED(device->CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                        IID_ID3D12CommandAllocator,
                                                        allocator.out_void())) &&
               SUCCEEDED(device->CreateCommandList(0, D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                   allocator.get(), nullptr,
                                                   IID_ID3D12GraphicsCommandList,
                                                   list.out_void())) &&
               SUCCEEDED(create_factory(IID_IDXGIFactory2, factory.out_void())) &&
               SUCCEEDED(factory->CreateSwapChainForHwnd(queue.get(), window, &desc, nullptr,
                                                         nullptr, chain.out()));
    }
};

}  // namespace

bool install_hooks(Log* log) noexcept {
    const DummyWindow window;
    Dummies dummies;
    if (!dummies.open(window.handle())) {
        log->line("Direct3D 12 gave no device to find its methods with");
        return false;
    }
    HookBase* const device_hooks[] = {&create_pipeline_hook,  &create_target_view_hook,
                                      &create_depth_view_hook, &copy_descriptors_hook,
                                      &copy_descriptors_simple_hook, &create_committed_hook,
                                      &create_placed_hook};
    if (Capture* there = active.load(std::memory_order_acquire)) {
        there->set_target_increment(dummies.device->GetDescriptorHandleIncrementSize(
            D3D12_DESCRIPTOR_HEAP_TYPE_RTV));
    }
    bool ok = true;
    for (HookBase* hook : device_hooks) {
        ok = hook->install(dummies.device.get()) && ok;
    }
    ok = execute_hook.install(dummies.queue.get()) && ok;
    hook_list(dummies.list.get());
    dummies.list->Close();
    return hook_swap_chain(dummies.chain.get()) && ok;
}

void set_capture(Capture* there) noexcept {
    active.store(there, std::memory_order_release);
}

Backend backend() noexcept {
    return {"d3d12.dll",
            [](const Settings& settings, CameraSource* camera, Log* log) {
                return std::unique_ptr<PresentSink>(
                    std::make_unique<Capture>(settings, camera, log));
            },
            install_hooks,
            [](PresentSink* sink) { set_capture(static_cast<Capture*>(sink)); }};
}

}  // namespace realmaster::d3d12
