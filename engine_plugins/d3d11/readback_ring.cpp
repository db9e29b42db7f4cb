// See readback_ring.h.
#include "readback_ring.h"

namespace realmaster::d3d11 {

void ReadbackRing::open(ID3D11Device* device, std::uint32_t size) noexcept {
    device_.hold(device);
    size_ = size < entries_.size() ? size : static_cast<std::uint32_t>(entries_.size());
    const D3D11_QUERY_DESC event{D3D11_QUERY_EVENT, 0};
    for (std::uint32_t i = 0; i < size_; ++i) {
        if (FAILED(device->CreateQuery(&event, entries_[i].query.out()))) {
            size_ = i;
        }
    }
}

void ReadbackRing::close(ID3D11DeviceContext* context, Session* session) noexcept {
    for (Entry& entry : entries_) {
        if (entry.state == Entry::State::submitted) {
            session->abandon(&entry.job, Cause::readback_late);
        }
        if (entry.state == Entry::State::mapped) {
            while (!entry.job.done.load(std::memory_order_acquire)) {
                SwitchToThread();
            }
            unmap(context, &entry);
        }
        entry.state = Entry::State::free;
        entry.query.reset();
        for (auto& staging : entry.staging) {
            staging.reset();
        }
    }
    device_.reset();
    size_ = 0;
}

ReadbackRing::Entry* ReadbackRing::acquire() noexcept {
    for (std::uint32_t i = 0; i < size_; ++i) {
        if (entries_[i].state == Entry::State::free) {
            entries_[i].state = Entry::State::recording;
            entries_[i].used = {};
            return &entries_[i];
        }
    }
    return nullptr;
}

bool ReadbackRing::copy(ID3D11DeviceContext* context, Entry* entry, std::size_t lane,
                        ID3D11Texture2D* source) noexcept {
    D3D11_TEXTURE2D_DESC desc{};
    source->GetDesc(&desc);
    if (desc.SampleDesc.Count != 1) {
        return false;
    }
    Com<ID3D11Texture2D>& staging = entry->staging[lane];
    D3D11_TEXTURE2D_DESC have{};
    if (staging) {
        staging->GetDesc(&have);
    }
    if (!staging || have.Width != desc.Width || have.Height != desc.Height ||
        have.Format != desc.Format) {
        const D3D11_TEXTURE2D_DESC wanted{desc.Width, desc.Height, 1, 1, desc.Format, {1, 0},
                                          D3D11_USAGE_STAGING, 0, D3D11_CPU_ACCESS_READ, 0};
        if (FAILED(device_->CreateTexture2D(&wanted, nullptr, staging.out()))) {
            return false;
        }
    }
    context->CopySubresourceRegion(staging.get(), 0, 0, 0, 0, source, 0, nullptr);
    entry->used[lane] = true;
    return true;
}

void ReadbackRing::submit(ID3D11DeviceContext* context, Entry* entry) noexcept {
    context->End(entry->query.get());
    entry->state = Entry::State::submitted;
    entry->order = ++submissions_;
    ++counts_.submitted;
}

ReadbackRing::Entry* ReadbackRing::oldest(Entry::State state) noexcept {
    Entry* found = nullptr;
    for (Entry& entry : entries_) {
        if (entry.state == state && (found == nullptr || entry.order < found->order)) {
            found = &entry;
        }
    }
    return found;
}

void ReadbackRing::poll(ID3D11DeviceContext* context, Session* session) noexcept {
    for (Entry& entry : entries_) {
        if (entry.state == Entry::State::mapped && entry.job.done.load(std::memory_order_acquire)) {
            unmap(context, &entry);
            entry.state = Entry::State::free;
        }
    }
    while (Entry* entry = oldest(Entry::State::submitted)) {
        const HRESULT ready = context->GetData(entry->query.get(), nullptr, 0,
                                               D3D11_ASYNC_GETDATA_DONOTFLUSH);
        if (ready == S_FALSE) {
            ++counts_.not_ready;
            return;
        }
        if (ready != S_OK || !map(context, entry)) {
            session->abandon(&entry->job, Cause::readback_late);
            entry->state = Entry::State::free;
            continue;
        }
        entry->state = Entry::State::mapped;
        ++counts_.collected;
        session->hand_over(&entry->job);
    }
}

bool ReadbackRing::map(ID3D11DeviceContext* context, Entry* entry) noexcept {
    Job& job = entry->job;
    job.color = job.color_ui = job.depth = job.stencil = {};
    job.targets = {};
    job.num_targets = 0;
    for (std::size_t lane = 0; lane < num_lanes; ++lane) {
        if (!entry->used[lane]) {
            continue;
        }
        D3D11_MAPPED_SUBRESOURCE mapped{};
        ID3D11Texture2D* staging = entry->staging[lane].get();
        if (FAILED(context->Map(staging, 0, D3D11_MAP_READ, 0, &mapped))) {
            for (std::size_t other = lane; other < num_lanes; ++other) {
                entry->used[other] = false;
            }
            unmap(context, entry);
            return false;
        }
        D3D11_TEXTURE2D_DESC desc{};
        staging->GetDesc(&desc);
        const Image image{static_cast<const std::uint8_t*>(mapped.pData), mapped.RowPitch,
                          desc.Width, desc.Height, static_cast<std::uint32_t>(desc.Format)};
        if (lane >= lane_targets) {
            const auto index = static_cast<std::uint32_t>(lane - lane_targets);
            job.targets[index] = image;
            job.num_targets = index + 1;
        } else {
            Image* const images[] = {&job.color, &job.color_ui, &job.depth, &job.stencil};
            *images[lane] = image;
        }
    }
    return true;
}

void ReadbackRing::unmap(ID3D11DeviceContext* context, Entry* entry) noexcept {
    for (std::size_t lane = 0; lane < num_lanes; ++lane) {
        if (entry->used[lane]) {
            context->Unmap(entry->staging[lane].get(), 0);
        }
    }
}

}  // namespace realmaster::d3d11
