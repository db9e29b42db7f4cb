// See capture.h.
#include "capture.h"

#include "hooks.h"

namespace realmaster::d3d12 {

namespace {

constexpr DWORD let_go_wait_ms = 1000;
constexpr std::uint64_t retired_presents = 16;  // longer than any game records ahead
constexpr int switch_chain_after = 60;  // presents of another swap chain with none of ours

ResourceId id_of(const void* object) noexcept {
    return reinterpret_cast<ResourceId>(object);
}

ID3D12Resource* resource_of(ResourceId id) noexcept {
    return reinterpret_cast<ID3D12Resource*>(id);
}

class Busy {
public:
    explicit Busy(std::atomic<DWORD>* thread) noexcept : thread_(thread) {
        thread_->store(GetCurrentThreadId(), std::memory_order_relaxed);
    }
    ~Busy() {
        thread_->store(0, std::memory_order_relaxed);
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    std::atomic<DWORD>* thread_;
};

TextureInfo info_of(const D3D12_RESOURCE_DESC& desc) noexcept {
    // Arrays and mip chains are shadow cascades and pyramids, no scene: as if multisampled.
    const bool single = desc.DepthOrArraySize == 1 && desc.MipLevels == 1;
    return {static_cast<std::uint32_t>(desc.Width), desc.Height,
            static_cast<std::uint32_t>(desc.Format), single ? desc.SampleDesc.Count : 2,
            (desc.Flags & D3D12_RESOURCE_FLAG_ALLOW_DEPTH_STENCIL) != 0};
}

bool is_target(const D3D12_RESOURCE_DESC& desc) noexcept {
    const auto flags = D3D12_RESOURCE_FLAG_ALLOW_DEPTH_STENCIL |
                       D3D12_RESOURCE_FLAG_ALLOW_RENDER_TARGET;
    return desc.Dimension == D3D12_RESOURCE_DIMENSION_TEXTURE2D && (desc.Flags & flags) != 0;
}

}  // namespace

Capture::Capture(const Settings& settings, CameraSource* camera, Log* log)
    : log_(log), session_(settings, camera, "d3d12", log) {
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

// --- what the hooks see ----------------------------------------------------------------------

void Capture::chain_created(IUnknown* device, IDXGISwapChain* chain) noexcept {
    Com<ID3D12CommandQueue> queue;
    if (device != nullptr &&
        SUCCEEDED(device->QueryInterface(IID_ID3D12CommandQueue, queue.out_void()))) {
        created_ = chain;
        chain_queue_.store(queue.get(), std::memory_order_release);  // lives as long as the chain
    }
}

void Capture::note_texture(ID3D12Resource* texture, const D3D12_RESOURCE_DESC& desc,
                           D3D12_RESOURCE_STATES initial) noexcept {
    if (is_target(desc)) {
        tracker_.texture_made(id_of(texture), info_of(desc), static_cast<State>(initial));
    }
}

void Capture::note_targets(ID3D12GraphicsCommandList* list, UINT count,
                           const D3D12_CPU_DESCRIPTOR_HANDLE* targets, BOOL one_range,
                           const D3D12_CPU_DESCRIPTOR_HANDLE* depth) noexcept {
    BoundTargets bound;
    const UINT increment = target_increment_.load(std::memory_order_relaxed);
    for (UINT i = 0; targets != nullptr && i < count && i < max_bound_targets; ++i) {
        const DescriptorId descriptor = one_range != FALSE
                                            ? targets[0].ptr + std::uint64_t{i} * increment
                                            : targets[i].ptr;
        bound.ids[i] = tracker_.texture_of(descriptor);
        bound.count = i + 1;
    }
    tracker_.list_targets(id_of(list), bound,
                          depth != nullptr ? tracker_.texture_of(depth->ptr) : 0);
}

void Capture::note_barrier(ID3D12GraphicsCommandList* list,
                           const D3D12_RESOURCE_BARRIER& barrier) noexcept {
    if (barrier.Type != D3D12_RESOURCE_BARRIER_TYPE_TRANSITION ||
        (barrier.Flags & D3D12_RESOURCE_BARRIER_FLAG_BEGIN_ONLY) != 0) {
        return;
    }
    const auto& change = barrier.Transition;
    if (change.Subresource != D3D12_RESOURCE_BARRIER_ALL_SUBRESOURCES && change.Subresource != 0) {
        return;
    }
    const auto targets = D3D12_RESOURCE_STATE_DEPTH_WRITE | D3D12_RESOURCE_STATE_RENDER_TARGET;
    const ResourceId id = id_of(change.pResource);
    if (!tracker_.knows(id)) {
        if (((change.StateBefore | change.StateAfter) & targets) == 0) {
            return;
        }
        const D3D12_RESOURCE_DESC desc = desc_of(change.pResource);
        if (!is_target(desc)) {
            return;
        }
        tracker_.texture_found(id, info_of(desc));
    }
    tracker_.list_barrier(id_of(list), id, static_cast<State>(change.StateBefore),
                          static_cast<State>(change.StateAfter));
}

void Capture::note_clear(ID3D12GraphicsCommandList* list,
                         D3D12_CPU_DESCRIPTOR_HANDLE view) noexcept {
    const ResourceId depth = tracker_.texture_of(view.ptr);
    const bool wanted = wants_copies_.load(std::memory_order_relaxed);
    if (depth == 0 || !tracker_.list_clear_depth(id_of(list), depth) || !wanted) {
        return;
    }
    const std::lock_guard<std::mutex> guard(copies_mutex_);
    const Busy busy(&busy_thread_);
    ID3D12Resource* texture = resource_of(depth);
    if (!device_ || !snapshot_.open(device_.get(), desc_of(texture))) {
        return;
    }
    // A buffer that is being cleared is in DEPTH_WRITE; Direct3D demands it.
    transition(list, texture, D3D12_RESOURCE_STATE_DEPTH_WRITE, D3D12_RESOURCE_STATE_COPY_SOURCE);
    list->CopyResource(snapshot_.texture.get(), texture);
    transition(list, texture, D3D12_RESOURCE_STATE_COPY_SOURCE, D3D12_RESOURCE_STATE_DEPTH_WRITE);
    snapshot_.filled = true;
}

bool Capture::begins_hud(ID3D12CommandQueue* queue, ID3D12CommandList* list) noexcept {
    return queue == queue_.get() && session_.settings().color_before_hud &&
           tracker_.begins_hud(id_of(list)) && wants_copies_.load(std::memory_order_relaxed);
}

void Capture::copy_color(ID3D12CommandQueue* queue) noexcept {
    Com<IDXGISwapChain3> chain;
    Com<ID3D12Resource> picture;
    const std::lock_guard<std::mutex> guard(copies_mutex_);
    if (chain_ == nullptr ||
        FAILED(chain_->QueryInterface(IID_IDXGISwapChain3, chain.out_void())) ||
        FAILED(chain->GetBuffer(chain->GetCurrentBackBufferIndex(), IID_ID3D12Resource,
                                picture.out_void()))) {
        return;
    }
    ColorList& next = color_lists_[color_value_ % color_lists_.size()];
    if (!next.list || color_fence_->GetCompletedValue() < next.fence_value ||
        !color_.open(device_.get(), desc_of(picture.get()))) {
        return;
    }
    const Busy busy(&busy_thread_);
    const D3D12_RESOURCE_STATES state =
        state_of(picture.get(), D3D12_RESOURCE_STATE_RENDER_TARGET);
    if (FAILED(next.allocator->Reset()) ||
        FAILED(next.list->Reset(next.allocator.get(), nullptr))) {
        return;
    }
    transition(next.list.get(), picture.get(), state, D3D12_RESOURCE_STATE_COPY_SOURCE);
    next.list->CopyResource(color_.texture.get(), picture.get());
    transition(next.list.get(), picture.get(), D3D12_RESOURCE_STATE_COPY_SOURCE, state);
    next.list->Close();
    ID3D12CommandList* const lists[] = {next.list.get()};
    queue->ExecuteCommandLists(1, lists);
    next.fence_value = ++color_value_;
    queue->Signal(color_fence_.get(), next.fence_value);
    color_.filled = true;
}

void Capture::executed(ID3D12CommandQueue* queue, ID3D12CommandList* list) noexcept {
    tracker_.executed(id_of(list));
    if (queue != last_queue_.get() && type_of(queue) == D3D12_COMMAND_LIST_TYPE_DIRECT) {
        const std::lock_guard<std::mutex> guard(copies_mutex_);
        last_queue_.hold(queue);
    }
}

bool Capture::Copy::open(ID3D12Device* device, const D3D12_RESOURCE_DESC& like) noexcept {
    if (texture) {
        const D3D12_RESOURCE_DESC have = desc_of(texture.get());
        if (have.Width == like.Width && have.Height == like.Height && have.Format == like.Format) {
            return true;
        }
        return false;  // another size in mid-frame: from the next resize on
    }
    D3D12_HEAP_PROPERTIES heap{};
    heap.Type = D3D12_HEAP_TYPE_DEFAULT;
    D3D12_RESOURCE_DESC desc = like;
    desc.Alignment = 0;
    return SUCCEEDED(device->CreateCommittedResource(&heap, D3D12_HEAP_FLAG_NONE, &desc,
                                                     D3D12_RESOURCE_STATE_COPY_DEST, nullptr,
                                                     IID_ID3D12Resource, texture.out_void()));
}

// --- present ---------------------------------------------------------------------------------

bool Capture::adopt(IDXGISwapChain* chain) noexcept {
    Com<ID3D12Device> device;
    if (FAILED(chain->GetDevice(IID_ID3D12Device, device.out_void()))) {
        return false;
    }
    if (chain_ == chain && device.get() == device_.get()) {
        other_presents_ = 0;
        return true;
    }
    if (chain_ != nullptr && ++other_presents_ < switch_chain_after && chain_ != chain) {
        return false;
    }
    ID3D12CommandQueue* queue = chain_queue_.load(std::memory_order_acquire);
    const bool told = queue != nullptr && created_ == chain;
    if (!told) {
        const std::lock_guard<std::mutex> guard(copies_mutex_);
        queue = last_queue_.get();
    }
    if (queue == nullptr) {
        return false;  // nothing was executed yet: at the next present
    }
    let_go();
    device_ = device;
    queue_.hold(queue);
    if (!ring_.open(device.get(), session_.settings().ring) || !open_color_lists()) {
        log_->line("Direct3D 12 gave no command lists to read back with");
        let_go();
        return false;
    }
    chain_ = chain;
    other_presents_ = 0;
    width_ = height_ = 0;
    log_->line("a Direct3D 12 swap chain presents on %s", told
                   ? "the queue that it was made with"
                   : "a queue that was guessed: the plugin was loaded after its creation");
    return true;
}

bool Capture::open_color_lists() noexcept {
    color_value_ = 0;
    bool ok = SUCCEEDED(
        device_->CreateFence(0, D3D12_FENCE_FLAG_NONE, IID_ID3D12Fence, color_fence_.out_void()));
    for (ColorList& entry : color_lists_) {
        entry.fence_value = 0;
        ok = ok &&
             SUCCEEDED(device_->CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                       IID_ID3D12CommandAllocator,
                                                       entry.allocator.out_void())) &&
             SUCCEEDED(device_->CreateCommandList(0, D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                  entry.allocator.get(), nullptr,
                                                  IID_ID3D12GraphicsCommandList,
                                                  entry.list.out_void())) &&
             SUCCEEDED(entry.list->Close());
    }
    return ok;
}

void Capture::let_go() noexcept {
    if (!device_) {
        return;
    }
    wants_copies_.store(false);
    const std::lock_guard<std::mutex> guard(copies_mutex_);
    if (color_fence_ && queue_) {  // all that was executed so far must be done
        queue_->Signal(color_fence_.get(), ++color_value_);
        for (DWORD waited = 0; waited < let_go_wait_ms && color_fence_->GetCompletedValue() <
                                                              color_value_; ++waited) {
            Sleep(1);
        }
    }
    ring_.close(&session_);
    if (snapshot_.texture) {
        snapshot_.texture->AddRef();  // for good: a list that is recorded already may name it
    }
    snapshot_ = {};
    color_ = {};
    color_lists_ = {};
    color_fence_.reset();
    tracker_.set_scene(0);
    tracker_.set_back_buffers(nullptr, 0);
    queue_.reset();
    last_queue_.reset();
    device_.reset();
    chain_ = nullptr;
}

void Capture::retire_snapshot() noexcept {
    if (snapshot_.texture) {
        retired_ = snapshot_.texture;
        retired_at_ = presents_;
    }
    snapshot_ = {};
}

bool Capture::update_back_buffers(IDXGISwapChain* chain, PresentFacts* facts) noexcept {
    DXGI_SWAP_CHAIN_DESC desc{};
    if (FAILED(chain->GetDesc(&desc))) {
        return false;
    }
    facts->width = desc.BufferDesc.Width;
    facts->height = desc.BufferDesc.Height;
    facts->format = static_cast<std::uint32_t>(desc.BufferDesc.Format);
    facts->size_changed = facts->width != width_ || facts->height != height_;
    if (facts->size_changed) {
        width_ = facts->width;
        height_ = facts->height;
        chooser_.set_output(width_, height_);
        const std::lock_guard<std::mutex> guard(copies_mutex_);
        retire_snapshot();
        log_->line("the back buffer is %u x %u, format %u", width_, height_, facts->format);
        if (!is_color_format(facts->format)) {
            log_->line("format %u is not read: turn HDR output off", facts->format);
        }
    }
    std::array<ResourceId, 16> ids{};
    std::size_t count = 0;
    for (UINT i = 0; i < desc.BufferCount && i < ids.size(); ++i) {
        Com<ID3D12Resource> buffer;
        if (SUCCEEDED(chain->GetBuffer(i, IID_ID3D12Resource, buffer.out_void()))) {
            ids[count++] = id_of(buffer.get());
        }
    }
    tracker_.set_back_buffers(ids.data(), count);
    return count > 0;
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
    ++presents_;
    if (presents_ - retired_at_ > retired_presents) {
        retired_.reset();
    }
    PresentFacts facts;
    Com<IDXGISwapChain3> chain3;
    Com<ID3D12Resource> back_buffer;
    if (!update_back_buffers(chain, &facts) ||
        FAILED(chain->QueryInterface(IID_IDXGISwapChain3, chain3.out_void())) ||
        FAILED(chain->GetBuffer(chain3->GetCurrentBackBufferIndex(), IID_ID3D12Resource,
                                back_buffer.out_void()))) {
        return true;
    }
    const Busy busy(&busy_thread_);
    ring_.poll(&session_);
    std::array<DepthCandidate, DepthChooser::max_candidates> candidates{};
    const std::size_t count = tracker_.candidates(&candidates);
    facts.depth = chooser_.choose(candidates.data(), count);
    facts.num_targets = tracker_.pass_targets().count;
    ReadbackRing::Entry* entry = ring_.acquire();
    Job spare;
    const Order order = session_.begin_frame(facts, entry != nullptr ? &entry->job : &spare);
    trace(order, facts);
    if (entry == nullptr && order != Order::nothing) {
        ring_.count_full();
        session_.abandon(&spare, Cause::readback_late);
    } else if (entry != nullptr && order == Order::nothing) {
        ring_.cancel(entry);
    } else if (entry != nullptr) {
        read_back(order, entry, back_buffer.get(), facts);
    }
    tracker_.set_scene(facts.depth.id);
    tracker_.end_frame();
    snapshot_.filled = color_.filled = false;
    wants_copies_.store(session_.wants_snapshots(), std::memory_order_relaxed);
    return true;
}

D3D12_RESOURCE_STATES Capture::state_of(ID3D12Resource* texture,
                                        D3D12_RESOURCE_STATES guess) const noexcept {
    const State state = tracker_.state_of(id_of(texture));
    return state == state_unknown ? guess : static_cast<D3D12_RESOURCE_STATES>(state);
}

void Capture::choose_sources(Order order, ReadbackRing::Entry* entry, ID3D12Resource* back_buffer,
                             const DepthChoice& choice) noexcept {
    auto& sources = entry->sources;
    if (order != Order::calibrate) {
        sources[lane_color_ui] = {back_buffer,
                                  state_of(back_buffer, D3D12_RESOURCE_STATE_PRESENT), 0};
    }
    if (order == Order::color_only) {
        return;
    }
    ID3D12Resource* depth = resource_of(choice.id);
    sources[lane_depth] = {depth, state_of(depth, D3D12_RESOURCE_STATE_DEPTH_WRITE), 0};
    if (tracker_.snapshot_is_better()) {
        sources[lane_depth] = {snapshot_.filled ? snapshot_.texture.get() : nullptr,
                               D3D12_RESOURCE_STATE_COPY_DEST, 0};
    }
    if (order == Order::frame && session_.settings().stencil) {
        sources[lane_stencil] = sources[lane_depth];
        sources[lane_stencil].plane = 1;
    }
    if (order == Order::frame && color_.filled) {
        sources[lane_color] = {color_.texture.get(), D3D12_RESOURCE_STATE_COPY_DEST, 0};
    }
    const BoundTargets pass = tracker_.pass_targets();
    for (std::uint32_t i = 0; i < pass.count; ++i) {
        ID3D12Resource* target = resource_of(pass.ids[i]);
        const bool wanted =
            order == Order::calibrate || static_cast<int>(i) == session_.normal_target();
        if (target != nullptr && wanted) {
            sources[order == Order::calibrate ? lane_targets + i : std::size_t{lane_targets}] = {
                target, state_of(target, D3D12_RESOURCE_STATE_RENDER_TARGET), 0};
        }
    }
}

void Capture::read_back(Order order, ReadbackRing::Entry* entry, ID3D12Resource* back_buffer,
                        const PresentFacts& facts) noexcept {
    choose_sources(order, entry, back_buffer, facts.depth);
    const bool whole = order == Order::color_only || entry->sources[lane_depth].texture != nullptr;
    if (!whole || !ring_.submit(queue_.get(), entry)) {
        session_.abandon(&entry->job, whole ? Cause::encode : Cause::readback_late);
        ring_.cancel(entry);
        return;
    }
    if (session_.settings().eager_poll) {
        ring_.poll(&session_);
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
    tracker_.set_back_buffers(nullptr, 0);
    const std::lock_guard<std::mutex> guard(copies_mutex_);
    color_ = {};
}

void Capture::trace(Order order, const PresentFacts& facts) noexcept {
    if (trace_ == nullptr) {
        return;
    }
    const RingCounts& ring = ring_.counts();
    const Stats stats = session_.stats();
    const TrackerCounts counts = tracker_.counts();
    const DepthChoice& choice = facts.depth;
    std::fprintf(trace_,
                 "{\"present\": %llu, \"order\": %d, \"kind\": %d, \"depth\": [%u, %u], "
                 "\"state\": %lld, \"draws\": %llu, \"candidates\": %u, \"upscaled\": %s, "
                 "\"snapshot\": %s, \"hud\": %s, \"submitted\": %llu, \"collected\": %llu, "
                 "\"not_ready\": %llu, \"full\": %llu, \"late\": %llu, \"ignored\": %llu, "
                 "\"rendered\": %llu, \"sent\": %llu}\n",
                 static_cast<unsigned long long>(presents_), static_cast<int>(order),
                 static_cast<int>(session_.kind()), choice.width, choice.height,
                 choice.id != 0 && tracker_.state_of(choice.id) != state_unknown
                     ? static_cast<long long>(tracker_.state_of(choice.id))
                     : -1LL,
                 static_cast<unsigned long long>(choice.draws), choice.candidates,
                 choice.upscaled ? "true" : "false",
                 tracker_.snapshot_is_better() ? "true" : "false",
                 color_.filled ? "true" : "false", static_cast<unsigned long long>(ring.submitted),
                 static_cast<unsigned long long>(ring.collected),
                 static_cast<unsigned long long>(ring.not_ready),
                 static_cast<unsigned long long>(ring.full),
                 static_cast<unsigned long long>(counts.late),
                 static_cast<unsigned long long>(counts.ignored),
                 static_cast<unsigned long long>(stats.rendered),
                 static_cast<unsigned long long>(stats.sent));
    std::fflush(trace_);
}

}  // namespace realmaster::d3d12
