// Direct3D 12's headers, and the methods that return structures: mingw declares them with an
// explicit result, Microsoft's SDK does not.
#pragma once

#define WIN32_LEAN_AND_MEAN
#ifndef _MSC_VER
#define WIDL_EXPLICIT_AGGREGATE_RETURNS
#endif
#include <windows.h>

#include <d3d12.h>
#include <dxgi1_4.h>

namespace realmaster::d3d12 {

inline D3D12_RESOURCE_DESC desc_of(ID3D12Resource* resource) noexcept {
#ifdef _MSC_VER
    return resource->GetDesc();
#else
    D3D12_RESOURCE_DESC desc{};
    resource->GetDesc(&desc);
    return desc;
#endif
}

inline D3D12_COMMAND_LIST_TYPE type_of(ID3D12CommandQueue* queue) noexcept {
#ifdef _MSC_VER
    return queue->GetDesc().Type;
#else
    D3D12_COMMAND_QUEUE_DESC desc{};
    queue->GetDesc(&desc);
    return desc.Type;
#endif
}

}  // namespace realmaster::d3d12
