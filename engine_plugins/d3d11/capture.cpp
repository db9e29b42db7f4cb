// See capture.h.
#include "capture.h"

#include "hooks.h"

namespace realmaster::d3d11 {

namespace {

constexpr int switch_chain_after = 60;  // presents of another swap chain with none of ours
constexpr UINT status_side = 12;

ResourceId id_of(const void* object) noexcept {
    return reinterpret_cast<ResourceId>(object);
}

// The texture behind a view, held.
template <typename View>
Com<ID3D11Texture2D> texture_of(View* view) noexcept {
    Com<ID3D11Resource> resource;
    Com<ID3D11Texture2D> texture;
    if (view != nullptr) {
        view->GetResource(resource.out());
        if (FAILED(resource->QueryInterface(IID_ID3D11Texture2D, texture.out_void()))) {
            texture.reset();
        }
    }
    return texture;
}

class Busy {
public:
    explicit Busy(bool* flag) noexcept : flag_(flag) {
        *flag_ = true;
    }
    ~Busy() {
        *flag_ = false;
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    bool* flag_;
};

}  // namespace

Capture::Capture(const Settings& settings, CameraSource* camera, Log* log)
    : log_(log), session_(settings, camera, "d3d11", log) {
    if (!settings.trace.empty()) {
        trace_ = std::fopen(settings.trace.c_str(), "w");
    }
}

Capture::~Capture() {
    let_go();
    if (trace_ != nullptr) {
        std::fclose(trace_);
    }
}

bool Capture::adopt(IDXGISwapChain* chain) noexcept {
    Com<ID3D11Device> device;
    if (FAILED(chain->GetDevice(IID_ID3D11Device, device.out_void()))) {
        return false;
    }
    if (chain_ == chain && device.get() == device_.get()) {
        other_presents_ = 0;
        return true;
    }
    if (chain_ != nullptr && ++other_presents_ < switch_chain_after && chain_ != chain) {
        return false;
    }
    let_go();
    Com<ID3D11DeviceContext> context;
    device->GetImmediateContext(context.out());
    if (FAILED(context->QueryInterface(IID_ID3D11DeviceContext1, context_.out_void())) ||
        !resolver_.open(device.get(), log_)) {
        return false;
    }
    hook_context(context.get());
    device_ = device;
    ring_.open(device.get(), session_.settings().ring);
    chain_ = chain;
    other_presents_ = 0;
    width_ = height_ = 0;
    log_->line("a Direct3D 11 swap chain presents");
    return true;
}

void Capture::let_go() noexcept {
    if (!device_) {
        return;
    }
    const Busy busy(&busy_);
    ring_.close(context_.get(), &session_);
    std::array<ResourceId, DepthChooser::max_candidates> gone{};
    const std::size_t count = tracker_.clear(&gone);
    for (std::size_t i = 0; i < count; ++i) {
        reinterpret_cast<ID3D11Texture2D*>(gone[i])->Release();
    }
    tracker_.set_back_buffer(0);
    tracker_.set_scene(0);
    end_frame();
    resolver_.close();
    color_.reset();
    context_.reset();
    device_.reset();
    chain_ = nullptr;
}

void Capture::update_back_buffer(IDXGISwapChain* chain, PresentFacts* facts) noexcept {
    DXGI_SWAP_CHAIN_DESC desc{};
    chain->GetDesc(&desc);
    facts->width = desc.BufferDesc.Width;
    facts->height = desc.BufferDesc.Height;
    facts->format = static_cast<std::uint32_t>(desc.BufferDesc.Format);
    facts->size_changed = facts->width != width_ || facts->height != height_;
    if (facts->size_changed) {
        width_ = facts->width;
        height_ = facts->height;
        chooser_.set_output(width_, height_);
        log_->line("the back buffer is %u x %u, format %u", width_, height_, facts->format);
        if (!is_color_format(facts->format)) {
            log_->line("format %u is not read: turn HDR output off", facts->format);
        }
    }
}

bool Capture::present(IDXGISwapChain* chain) noexcept {
    if (closing_.load(std::memory_order_acquire)) {
        let_go();
        closed_.store(true, std::memory_order_release);
        return false;
    }
    if (!adopt(chain)) {
        return false;
    }
    const Busy busy(&busy_);
    ++presents_;
    PresentFacts facts;
    update_back_buffer(chain, &facts);
    Com<ID3D11Texture2D> back_buffer;
    if (FAILED(chain->GetBuffer(0, IID_ID3D11Texture2D, back_buffer.out_void()))) {
        return true;
    }
    ring_.poll(context_.get(), &session_);
    std::array<DepthCandidate, DepthChooser::max_candidates> candidates{};
    const std::size_t count = tracker_.candidates(&candidates);
    facts.depth = chooser_.choose(candidates.data(), count);
    const Targets pass = tracker_.pass_of(facts.depth.id);
    facts.num_targets = pass.count;
    const bool cleared = tracker_.snapshot_is_better(facts.depth.id);
    const bool snapshot = has_snapshot_ && cleared;
    has_snapshot_ = snapshot;

    ReadbackRing::Entry* entry = ring_.acquire();
    Job spare;
    const Order order = session_.begin_frame(facts, entry != nullptr ? &entry->job : &spare);
    trace(order, facts.depth, snapshot);
    if (entry == nullptr && order != Order::nothing) {
        ring_.count_full();
        session_.abandon(&spare, Cause::readback_late);
    } else if (entry != nullptr && order == Order::nothing) {
        ring_.cancel(entry);
    } else if (entry != nullptr && cleared && !snapshot && order != Order::color_only) {
        session_.abandon(&entry->job, Cause::readback_late);  // credit came after the clear
        ring_.cancel(entry);
    } else if (entry != nullptr) {
        read_back(order, entry, back_buffer.get(), facts.depth, pass);
        if (session_.settings().eager_poll) {
            ring_.poll(context_.get(), &session_);
        }
    }
    const std::array<float, 4> status = session_.status_color();
    if (status[3] > 0) {
        resolver_.draw_status(context_.get(), back_buffer.get(), status_side, status);
    }
    tracker_.set_back_buffer(id_of(back_buffer.get()));
    tracker_.set_scene(facts.depth.id);
    end_frame();
    return true;
}

void Capture::read_back(Order order, ReadbackRing::Entry* entry, ID3D11Texture2D* back_buffer,
                        const DepthChoice& choice, const Targets& pass) noexcept {
    ID3D11DeviceContext1* context = context_.get();
    bool ok = true;
    if (order != Order::color_only) {
        auto* depth = reinterpret_cast<ID3D11Texture2D*>(choice.id);
        ok = (has_snapshot_ || resolver_.copy_depth(context, depth)) &&
             ring_.copy(context, entry, lane_depth, resolver_.resolve_depth(context));
    }
    if (ok && order == Order::frame && session_.settings().stencil) {
        if (ID3D11Texture2D* stencil = resolver_.resolve_stencil(context)) {
            ok = ring_.copy(context, entry, lane_stencil, stencil);
        }
    }
    const int normals = session_.normal_target();
    for (std::uint32_t i = 0; ok && order != Order::color_only && i < pass.count; ++i) {
        auto* target = reinterpret_cast<ID3D11Texture2D*>(pass.ids[i]);
        if (target == nullptr) {
            continue;
        }
        if (order == Order::calibrate) {
            ring_.copy(context, entry, lane_targets + i, target);  // one that fails is no candidate
        } else if (static_cast<int>(i) == normals) {
            ok = ring_.copy(context, entry, lane_targets, target);
        }
    }
    if (ok && order == Order::frame && has_color_) {
        ok = ring_.copy(context, entry, lane_color, color_.get());
    }
    if (ok && order != Order::calibrate) {
        ok = ring_.copy(context, entry, lane_color_ui, back_buffer);
    }
    if (!ok) {
        session_.abandon(&entry->job, Cause::encode);
        ring_.cancel(entry);
        return;
    }
    ring_.submit(context, entry);
}

void Capture::end_frame() noexcept {
    std::array<ResourceId, DepthChooser::max_candidates> gone{};
    const std::size_t count = tracker_.end_frame(&gone);
    for (std::size_t i = 0; i < count; ++i) {
        reinterpret_cast<ID3D11Texture2D*>(gone[i])->Release();
    }
    for (std::size_t i = 0; i < num_held_; ++i) {
        held_[i].reset();
    }
    num_held_ = 0;
    has_color_ = has_snapshot_ = false;
}

void Capture::hold(const Com<ID3D11Texture2D>& target) noexcept {
    for (std::size_t i = 0; i < num_held_; ++i) {
        if (held_[i].get() == target.get()) {
            return;
        }
    }
    if (target && num_held_ < held_.size()) {
        held_[num_held_++] = target;
    }
}

void Capture::presented(HRESULT result) noexcept {
    if (result == DXGI_ERROR_DEVICE_REMOVED || result == DXGI_ERROR_DEVICE_RESET) {
        log_->line("the device is lost (%08lx); waiting for another",
                   static_cast<unsigned long>(result));
        let_go();
    }
}

void Capture::before_resize() noexcept {
    tracker_.set_back_buffer(0);
    color_.reset();
    has_color_ = false;
}

void Capture::note_bind(ID3D11DeviceContext* context, UINT count,
                        ID3D11RenderTargetView* const* targets,
                        ID3D11DepthStencilView* depth) noexcept {
    if (ours(context)) {
        return;
    }
    const Com<ID3D11Texture2D> buffer = texture_of(depth);
    const ResourceId id = id_of(buffer.get());
    Targets bound;
    // Only what the immediate context draws to can be held until Present.
    const bool immediate = context == context_.get();
    for (UINT i = 0; targets != nullptr && immediate && i < count && i < max_pass_targets; ++i) {
        const Com<ID3D11Texture2D> texture = texture_of(targets[i]);
        bound.ids[i] = id_of(texture.get());
        bound.count = i + 1;
        if (id != 0 && id == chooser_.kept()) {
            hold(texture);
        }
    }
    if (id != 0 && !tracker_.knows(id)) {
        D3D11_TEXTURE2D_DESC desc{};
        buffer->GetDesc(&desc);
        const bool single = desc.ArraySize == 1 && desc.MipLevels == 1;
        const UINT samples = single ? desc.SampleDesc.Count : 2;  // cascades are no scene
        if (tracker_.add_depth(id, desc.Width, desc.Height, samples)) {
            buffer->AddRef();  // until the tracker forgets it
        }
    }
    tracker_.bind(id_of(context), id, bound);
}

void Capture::note_blend(ID3D11DeviceContext* context, ID3D11BlendState* state) noexcept {
    if (ours(context)) {
        return;
    }
    D3D11_BLEND_DESC desc{};
    if (state != nullptr) {
        state->GetDesc(&desc);
    }
    tracker_.set_blend(id_of(context), desc.RenderTarget[0].BlendEnable != FALSE);
}

void Capture::note_depth_state(ID3D11DeviceContext* context,
                               ID3D11DepthStencilState* state) noexcept {
    if (ours(context)) {
        return;
    }
    D3D11_DEPTH_STENCIL_DESC desc{};
    desc.DepthEnable = TRUE;
    if (state != nullptr) {
        state->GetDesc(&desc);
    }
    tracker_.set_depth_test(id_of(context), desc.DepthEnable != FALSE);
}

void Capture::note_draw(ID3D11DeviceContext* context) noexcept {
    if (ours(context) || !tracker_.draw(id_of(context))) {
        return;
    }
    const bool wanted = session_.wants_snapshots() && session_.settings().color_before_hud;
    if (context != context_.get() || !wanted) {
        return;
    }
    const Busy busy(&busy_);
    Com<ID3D11RenderTargetView> view;
    context->OMGetRenderTargets(1, view.out(), nullptr);
    const Com<ID3D11Texture2D> picture = texture_of(view.get());
    if (!picture) {
        return;
    }
    D3D11_TEXTURE2D_DESC desc{};
    D3D11_TEXTURE2D_DESC have{};
    picture->GetDesc(&desc);
    if (color_) {
        color_->GetDesc(&have);
    }
    if (have.Width != desc.Width || have.Height != desc.Height || have.Format != desc.Format) {
        const D3D11_TEXTURE2D_DESC wanted_desc{desc.Width, desc.Height, 1, 1, desc.Format, {1, 0},
                                               D3D11_USAGE_DEFAULT, D3D11_BIND_SHADER_RESOURCE,
                                               0, 0};
        if (FAILED(device_->CreateTexture2D(&wanted_desc, nullptr, color_.out()))) {
            return;
        }
    }
    if (desc.SampleDesc.Count == 1) {
        context->CopySubresourceRegion(color_.get(), 0, 0, 0, 0, picture.get(), 0, nullptr);
        has_color_ = true;
    }
}

void Capture::note_clear(ID3D11DeviceContext* context, ID3D11DepthStencilView* depth,
                         UINT flags) noexcept {
    if (ours(context) || (flags & D3D11_CLEAR_DEPTH) == 0) {
        return;
    }
    const Com<ID3D11Texture2D> buffer = texture_of(depth);
    const bool better = tracker_.clear_depth(id_of(buffer.get()));
    if (better && context == context_.get() && session_.wants_snapshots()) {
        const Busy busy(&busy_);
        has_snapshot_ = resolver_.copy_depth(context_.get(), buffer.get());
    }
}

void Capture::note_unbind(ID3D11DeviceContext* context) noexcept {
    if (!ours(context)) {
        tracker_.unbind(id_of(context));
        tracker_.set_blend(id_of(context), false);
        tracker_.set_depth_test(id_of(context), true);
    }
}

void Capture::trace(Order order, const DepthChoice& choice, bool snapshot) noexcept {
    if (trace_ == nullptr) {
        return;
    }
    const RingCounts& ring = ring_.counts();
    const Stats stats = session_.stats();
    std::fprintf(trace_,
                 "{\"present\": %llu, \"order\": %d, \"kind\": %d, \"depth\": [%u, %u], "
                 "\"draws\": %llu, \"candidates\": %u, \"upscaled\": %s, \"snapshot\": %s, "
                 "\"hud\": %s, \"submitted\": %llu, \"collected\": %llu, \"not_ready\": %llu, "
                 "\"full\": %llu, \"rendered\": %llu, \"sent\": %llu}\n",
                 static_cast<unsigned long long>(presents_), static_cast<int>(order),
                 static_cast<int>(session_.kind()), choice.width, choice.height,
                 static_cast<unsigned long long>(choice.draws), choice.candidates,
                 choice.upscaled ? "true" : "false", snapshot ? "true" : "false",
                 has_color_ ? "true" : "false", static_cast<unsigned long long>(ring.submitted),
                 static_cast<unsigned long long>(ring.collected),
                 static_cast<unsigned long long>(ring.not_ready),
                 static_cast<unsigned long long>(ring.full),
                 static_cast<unsigned long long>(stats.rendered),
                 static_cast<unsigned long long>(stats.sent));
    std::fflush(trace_);
}

}  // namespace realmaster::d3d11
