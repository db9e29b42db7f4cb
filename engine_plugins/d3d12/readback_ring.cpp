// See readback_ring.h.
#include "readback_ring.h"

namespace realmaster::d3d12 {

namespace {

constexpr DWORD close_wait_ms = 1000;

// How one plane of a texture lies in a buffer: bytes per texel and the footprint's format.
struct Texel {
    DXGI_FORMAT footprint = DXGI_FORMAT_UNKNOWN;
    UINT bytes = 0;
    std::uint32_t image = dxgi_format::unknown;  // what Image calls it
};

Texel texel_of(DXGI_FORMAT format, UINT plane) noexcept {
    const auto number = static_cast<std::uint32_t>(format);
    if (plane == 1) {
        return {DXGI_FORMAT_R8_TYPELESS, 1, dxgi_format::r8_uint};
    }
    DepthLayout layout{};
    if (depth_layout_of(number, &layout)) {
        switch (layout) {
            case DepthLayout::f32:
                return {DXGI_FORMAT_R32_FLOAT, 4, dxgi_format::r32_float};
            case DepthLayout::u24_low:
                return {DXGI_FORMAT_R32_TYPELESS, 4, dxgi_format::r24g8_typeless};
            case DepthLayout::u16:
                return {DXGI_FORMAT_R16_TYPELESS, 2, dxgi_format::r16_typeless};
        }
    }
    if (number == dxgi_format::r32g32b32a32_float) {
        return {format, 16, number};
    }
    if (number >= dxgi_format::r16g16b16a16_typeless &&
        number <= dxgi_format::r16g16b16a16_snorm) {
        return {format, 8, number};
    }
    if (is_color_format(number) || is_normal_format(number)) {
        return {format, 4, number};
    }
    return {};
}

UINT64 aligned(UINT64 value, UINT64 to) noexcept {
    return (value + to - 1) / to * to;
}

}  // namespace

void transition(ID3D12GraphicsCommandList* list, ID3D12Resource* texture,
                D3D12_RESOURCE_STATES before, D3D12_RESOURCE_STATES after) noexcept {
    if (before == after) {
        return;
    }
    D3D12_RESOURCE_BARRIER barrier{};
    barrier.Type = D3D12_RESOURCE_BARRIER_TYPE_TRANSITION;
    barrier.Transition = {texture, D3D12_RESOURCE_BARRIER_ALL_SUBRESOURCES, before, after};
    list->ResourceBarrier(1, &barrier);
}

bool ReadbackRing::open(ID3D12Device* device, std::uint32_t size) noexcept {
    device_.hold(device);
    size_ = size < entries_.size() ? size : static_cast<std::uint32_t>(entries_.size());
    bool ok = SUCCEEDED(
        device->CreateFence(0, D3D12_FENCE_FLAG_NONE, IID_ID3D12Fence, fence_.out_void()));
    last_value_ = 0;
    for (std::uint32_t i = 0; ok && i < size_; ++i) {
        Entry& entry = entries_[i];
        ok = SUCCEEDED(device->CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                      IID_ID3D12CommandAllocator,
                                                      entry.allocator.out_void())) &&
             SUCCEEDED(device->CreateCommandList(0, D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                 entry.allocator.get(), nullptr,
                                                 IID_ID3D12GraphicsCommandList,
                                                 entry.list.out_void())) &&
             SUCCEEDED(entry.list->Close());
    }
    return ok;
}

void ReadbackRing::close(Session* session) noexcept {
    // An allocator must not go before the GPU is done with it.
    for (DWORD waited = 0; fence_ && fence_->GetCompletedValue() < last_value_ &&
                           waited < close_wait_ms && device_->GetDeviceRemovedReason() == S_OK;
         ++waited) {
        Sleep(1);
    }
    for (Entry& entry : entries_) {
        if (entry.state == Entry::State::submitted) {
            session->abandon(&entry.job, Cause::readback_late);
        }
        if (entry.state == Entry::State::mapped) {
            while (!entry.job.done.load(std::memory_order_acquire)) {
                SwitchToThread();
            }
            entry.buffer->Unmap(0, nullptr);
        }
        entry.state = Entry::State::free;
        entry.list.reset();
        entry.allocator.reset();
        entry.buffer.reset();
        entry.buffer_bytes = 0;
    }
    fence_.reset();
    device_.reset();
    size_ = 0;
}

ReadbackRing::Entry* ReadbackRing::acquire() noexcept {
    for (std::uint32_t i = 0; i < size_; ++i) {
        if (entries_[i].state == Entry::State::free) {
            entries_[i].state = Entry::State::recording;
            entries_[i].sources = {};
            entries_[i].images = {};
            return &entries_[i];
        }
    }
    return nullptr;
}

bool ReadbackRing::lay_out(Entry* entry) noexcept {
    UINT64 bytes = 0;
    for (std::size_t lane = 0; lane < num_lanes; ++lane) {
        const Source& source = entry->sources[lane];
        if (source.texture == nullptr) {
            continue;
        }
        const D3D12_RESOURCE_DESC desc = desc_of(source.texture);
        const Texel texel = texel_of(desc.Format, source.plane);
        if (texel.bytes == 0 || desc.SampleDesc.Count != 1) {
            entry->sources[lane] = {};
            continue;
        }
        const auto width = static_cast<std::uint32_t>(desc.Width);
        const UINT64 pitch =
            aligned(UINT64{width} * texel.bytes, D3D12_TEXTURE_DATA_PITCH_ALIGNMENT);
        entry->offsets[lane] = bytes;
        entry->images[lane] = {nullptr, static_cast<std::size_t>(pitch), width, desc.Height,
                               texel.image};
        bytes = aligned(bytes + pitch * desc.Height, D3D12_TEXTURE_DATA_PLACEMENT_ALIGNMENT);
    }
    if (bytes == 0) {
        return false;
    }
    if (bytes <= entry->buffer_bytes) {
        return true;
    }
    D3D12_HEAP_PROPERTIES heap{};
    heap.Type = D3D12_HEAP_TYPE_READBACK;
    D3D12_RESOURCE_DESC desc{};
    desc.Dimension = D3D12_RESOURCE_DIMENSION_BUFFER;
    desc.Width = bytes;
    desc.Height = 1;
    desc.DepthOrArraySize = 1;
    desc.MipLevels = 1;
    desc.SampleDesc.Count = 1;
    desc.Layout = D3D12_TEXTURE_LAYOUT_ROW_MAJOR;
    const bool made = SUCCEEDED(device_->CreateCommittedResource(
        &heap, D3D12_HEAP_FLAG_NONE, &desc, D3D12_RESOURCE_STATE_COPY_DEST, nullptr,
        IID_ID3D12Resource, entry->buffer.out_void()));
    entry->buffer_bytes = made ? bytes : 0;
    return made;
}

void ReadbackRing::record(Entry* entry, std::size_t lane) noexcept {
    const Source& source = entry->sources[lane];
    const Image& image = entry->images[lane];
    const Texel texel = texel_of(desc_of(source.texture).Format, source.plane);
    transition(entry->list.get(), source.texture, source.state, D3D12_RESOURCE_STATE_COPY_SOURCE);
    D3D12_TEXTURE_COPY_LOCATION from{};
    from.pResource = source.texture;
    from.Type = D3D12_TEXTURE_COPY_TYPE_SUBRESOURCE_INDEX;
    from.SubresourceIndex = source.plane;  // one mip, one layer: the plane is the index
    D3D12_TEXTURE_COPY_LOCATION to{};
    to.pResource = entry->buffer.get();
    to.Type = D3D12_TEXTURE_COPY_TYPE_PLACED_FOOTPRINT;
    to.PlacedFootprint.Offset = entry->offsets[lane];
    to.PlacedFootprint.Footprint = {texel.footprint, image.width, image.height, 1,
                                    static_cast<UINT>(image.row_pitch)};
    entry->list->CopyTextureRegion(&to, 0, 0, 0, &from, nullptr);
    transition(entry->list.get(), source.texture, D3D12_RESOURCE_STATE_COPY_SOURCE, source.state);
}

bool ReadbackRing::submit(ID3D12CommandQueue* queue, Entry* entry) noexcept {
    if (!lay_out(entry) || FAILED(entry->allocator->Reset()) ||
        FAILED(entry->list->Reset(entry->allocator.get(), nullptr))) {
        return false;
    }
    for (std::size_t lane = 0; lane < num_lanes; ++lane) {
        if (entry->sources[lane].texture != nullptr) {
            record(entry, lane);
        }
    }
    if (FAILED(entry->list->Close())) {
        return false;
    }
    ID3D12CommandList* const lists[] = {entry->list.get()};
    queue->ExecuteCommandLists(1, lists);
    entry->fence_value = ++last_value_;
    queue->Signal(fence_.get(), entry->fence_value);
    entry->state = Entry::State::submitted;
    ++counts_.submitted;
    return true;
}

ReadbackRing::Entry* ReadbackRing::oldest_submitted() noexcept {
    Entry* found = nullptr;
    for (Entry& entry : entries_) {
        if (entry.state == Entry::State::submitted &&
            (found == nullptr || entry.fence_value < found->fence_value)) {
            found = &entry;
        }
    }
    return found;
}

void ReadbackRing::poll(Session* session) noexcept {
    for (Entry& entry : entries_) {
        if (entry.state == Entry::State::mapped && entry.job.done.load(std::memory_order_acquire)) {
            const D3D12_RANGE nothing{0, 0};
            entry.buffer->Unmap(0, &nothing);
            entry.state = Entry::State::free;
        }
    }
    while (Entry* entry = oldest_submitted()) {
        if (fence_->GetCompletedValue() < entry->fence_value) {
            ++counts_.not_ready;
            return;
        }
        if (!map(entry)) {
            session->abandon(&entry->job, Cause::readback_late);
            entry->state = Entry::State::free;
            continue;
        }
        entry->state = Entry::State::mapped;
        ++counts_.collected;
        session->hand_over(&entry->job);
    }
}

bool ReadbackRing::map(Entry* entry) noexcept {
    void* mapped = nullptr;
    const D3D12_RANGE all{0, static_cast<SIZE_T>(entry->buffer_bytes)};
    if (FAILED(entry->buffer->Map(0, &all, &mapped))) {
        return false;
    }
    Job& job = entry->job;
    job.targets = {};
    job.num_targets = 0;
    for (std::size_t lane = 0; lane < num_lanes; ++lane) {
        Image image = entry->images[lane];
        if (entry->sources[lane].texture != nullptr) {
            image.data = static_cast<const std::uint8_t*>(mapped) + entry->offsets[lane];
        }
        if (lane < lane_targets) {
            Image* const images[] = {&job.color, &job.color_ui, &job.depth, &job.stencil};
            *images[lane] = image;
        } else if (image.data != nullptr) {
            job.targets[lane - lane_targets] = image;
            job.num_targets = static_cast<std::uint32_t>(lane - lane_targets) + 1;
        }
    }
    return true;
}

}  // namespace realmaster::d3d12
