// The capture of one Direct3D 12 swap chain: feeds the tracker with what the hooks see, orders the
// copies at Present, and leaves the rest to the session. note_* run on whatever thread records.
#pragma once

#include <atomic>
#include <cstdio>

#include "com_ptr.h"
#include "readback_ring.h"
#include "sdk.h"
#include "session.h"
#include "swap_chain_hooks.h"
#include "tracker.h"

namespace realmaster::d3d12 {

class Capture : public PresentSink {
public:
    Capture(const Settings& settings, CameraSource* camera, Log* log);
    ~Capture() override;
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    bool present(IDXGISwapChain* chain) noexcept override;
    void presented(HRESULT result) noexcept override;
    void before_resize() noexcept override;
    void chain_created(IUnknown* device, IDXGISwapChain* chain) noexcept override;
    void request_close() noexcept override {
        closing_.store(true, std::memory_order_release);
    }
    [[nodiscard]] bool closed() const noexcept override {
        return closed_.load(std::memory_order_acquire) || !device_;
    }

    // Whether this thread is inside our own calls, which the detours must not count.
    [[nodiscard]] bool ours() const noexcept {
        return busy_thread_.load(std::memory_order_relaxed) == GetCurrentThreadId();
    }

    Tracker& tracker() noexcept {
        return tracker_;
    }
    void note_texture(ID3D12Resource* texture, const D3D12_RESOURCE_DESC& desc,
                      D3D12_RESOURCE_STATES initial) noexcept;
    void note_targets(ID3D12GraphicsCommandList* list, UINT count,
                      const D3D12_CPU_DESCRIPTOR_HANDLE* targets, BOOL one_range,
                      const D3D12_CPU_DESCRIPTOR_HANDLE* depth) noexcept;
    void note_barrier(ID3D12GraphicsCommandList* list,
                      const D3D12_RESOURCE_BARRIER& barrier) noexcept;
    void note_clear(ID3D12GraphicsCommandList* list, D3D12_CPU_DESCRIPTOR_HANDLE view) noexcept;

    // In front of the execution of one list: true where a copy of color has to go first.
    bool begins_hud(ID3D12CommandQueue* queue, ID3D12CommandList* list) noexcept;
    void copy_color(ID3D12CommandQueue* queue) noexcept;
    void executed(ID3D12CommandQueue* queue, ID3D12CommandList* list) noexcept;

    void set_target_increment(UINT bytes) noexcept {
        target_increment_.store(bytes, std::memory_order_relaxed);
    }

private:
    // A private copy of a texture, filled in the course of a frame.
    struct Copy {
        Com<ID3D12Resource> texture;
        bool filled = false;
        bool open(ID3D12Device* device, const D3D12_RESOURCE_DESC& like) noexcept;
    };
    struct ColorList {
        Com<ID3D12CommandAllocator> allocator;
        Com<ID3D12GraphicsCommandList> list;
        UINT64 fence_value = 0;
    };

    bool adopt(IDXGISwapChain* chain) noexcept;
    bool open_color_lists() noexcept;
    void let_go() noexcept;
    void retire_snapshot() noexcept;
    bool update_back_buffers(IDXGISwapChain* chain, PresentFacts* facts) noexcept;
    void choose_sources(Order order, ReadbackRing::Entry* entry, ID3D12Resource* back_buffer,
                        const DepthChoice& choice) noexcept;
    [[nodiscard]] D3D12_RESOURCE_STATES state_of(ID3D12Resource* texture,
                                                 D3D12_RESOURCE_STATES guess) const noexcept;
    void read_back(Order order, ReadbackRing::Entry* entry, ID3D12Resource* back_buffer,
                   const PresentFacts& facts) noexcept;
    void trace(Order order, const PresentFacts& facts) noexcept;

    Log* log_;
    Session session_;
    Tracker tracker_;
    DepthChooser chooser_;
    ReadbackRing ring_;
    Com<ID3D12Device> device_;
    Com<ID3D12CommandQueue> queue_;       // that the swap chain presents on
    Com<ID3D12CommandQueue> last_queue_;  // the last direct one that executed: the fallback
    std::atomic<ID3D12CommandQueue*> chain_queue_{nullptr};
    IDXGISwapChain* chain_ = nullptr;     // only compared
    IDXGISwapChain* created_ = nullptr;
    UINT width_ = 0;
    UINT height_ = 0;
    int other_presents_ = 0;
    std::atomic<UINT> target_increment_{0};
    std::atomic<DWORD> busy_thread_{0};
    std::atomic<bool> wants_copies_{false};
    std::mutex copies_mutex_;
    Copy snapshot_;                       // depth ahead of a clear
    Com<ID3D12Resource> retired_;         // lists of the game may still name it
    std::uint64_t retired_at_ = 0;        // present
    Copy color_;                          // the picture before the HUD
    std::array<ColorList, 4> color_lists_;
    Com<ID3D12Fence> color_fence_;
    UINT64 color_value_ = 0;
    std::atomic<bool> closing_{false};
    std::atomic<bool> closed_{false};
    std::FILE* trace_ = nullptr;
    std::uint64_t presents_ = 0;
};

}  // namespace realmaster::d3d12
