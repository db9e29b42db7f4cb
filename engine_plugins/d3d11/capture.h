// The capture of one Direct3D 11 swap chain: takes what the hooks see, orders the copies at
// Present, and leaves the rest to the session. note_* run on whatever thread records.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <d3d11_1.h>
#include <dxgi.h>

#include <cstdio>

#include "com_ptr.h"
#include "frame_tracker.h"
#include "readback_ring.h"
#include "resolver.h"
#include "session.h"
#include "swap_chain_hooks.h"

namespace realmaster::d3d11 {

class Capture : public PresentSink {
public:
    Capture(const Settings& settings, CameraSource* camera, Log* log);
    ~Capture() override;
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    // Before the game's present. True where the swap chain is one of Direct3D 11's.
    bool present(IDXGISwapChain* chain) noexcept override;

    // After it, with its result: a lost device ends everything until another one presents.
    void presented(HRESULT result) noexcept override;

    // The swap chain is about to let go of its buffers.
    void before_resize() noexcept override;

    void request_close() noexcept override {
        closing_.store(true, std::memory_order_release);
    }
    [[nodiscard]] bool closed() const noexcept override {
        return closed_.load(std::memory_order_acquire) || !device_;
    }

    // What the game's contexts do.
    void note_bind(ID3D11DeviceContext* context, UINT count, ID3D11RenderTargetView* const* targets,
                   ID3D11DepthStencilView* depth) noexcept;
    void note_blend(ID3D11DeviceContext* context, ID3D11BlendState* state) noexcept;
    void note_depth_state(ID3D11DeviceContext* context, ID3D11DepthStencilState* state) noexcept;
    void note_draw(ID3D11DeviceContext* context) noexcept;
    void note_clear(ID3D11DeviceContext* context, ID3D11DepthStencilView* depth,
                    UINT flags) noexcept;
    void note_unbind(ID3D11DeviceContext* context) noexcept;

private:
    bool adopt(IDXGISwapChain* chain) noexcept;
    void let_go() noexcept;
    void update_back_buffer(IDXGISwapChain* chain, PresentFacts* facts) noexcept;
    void read_back(Order order, ReadbackRing::Entry* entry, ID3D11Texture2D* back_buffer,
                   const DepthChoice& choice, const Targets& pass) noexcept;
    void end_frame() noexcept;
    void hold(const Com<ID3D11Texture2D>& target) noexcept;
    void trace(Order order, const DepthChoice& choice, bool snapshot) noexcept;
    [[nodiscard]] bool ours(ID3D11DeviceContext* context) const noexcept {
        return busy_ && context == context_.get();
    }

    Log* log_;
    Session session_;
    FrameTracker tracker_;
    DepthChooser chooser_;
    Resolver resolver_;
    ReadbackRing ring_;
    Com<ID3D11Device> device_;
    Com<ID3D11DeviceContext1> context_;
    IDXGISwapChain* chain_ = nullptr;  // only compared
    UINT width_ = 0;
    UINT height_ = 0;
    int other_presents_ = 0;
    bool busy_ = false;       // our own calls go through the same hooks
    bool has_color_ = false;  // color_ holds this frame's picture before the HUD
    bool has_snapshot_ = false;
    Com<ID3D11Texture2D> color_;
    std::array<Com<ID3D11Texture2D>, 4 * max_pass_targets> held_;  // until the end of the frame
    std::size_t num_held_ = 0;
    std::atomic<bool> closing_{false};
    std::atomic<bool> closed_{false};
    std::FILE* trace_ = nullptr;
    std::uint64_t presents_ = 0;
};

}  // namespace realmaster::d3d11
