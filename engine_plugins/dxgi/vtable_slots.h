// Where the hooked methods stand in their vtables. vtable_slots_check.c proves each number
// against the SDK's own C declarations when it is compiled.
#ifndef REALMASTER_VTABLE_SLOTS_H
#define REALMASTER_VTABLE_SLOTS_H

#define REALMASTER_SLOTS(SLOT)                                                             \
    SLOT(swap_chain_present, IDXGISwapChain1, Present, 8)                                  \
    SLOT(swap_chain_resize_buffers, IDXGISwapChain1, ResizeBuffers, 13)                    \
    SLOT(swap_chain_present1, IDXGISwapChain1, Present1, 22)                               \
    SLOT(swap_chain_resize_buffers1, IDXGISwapChain3, ResizeBuffers1, 39)                  \
    SLOT(factory_create_swap_chain, IDXGIFactory2, CreateSwapChain, 10)                    \
    SLOT(factory_create_swap_chain_for_window, IDXGIFactory2, CreateSwapChainForHwnd, 15)  \
    SLOT(context_draw_indexed, ID3D11DeviceContext, DrawIndexed, 12)                       \
    SLOT(context_draw, ID3D11DeviceContext, Draw, 13)                                      \
    SLOT(context_draw_indexed_instanced, ID3D11DeviceContext, DrawIndexedInstanced, 20)    \
    SLOT(context_draw_instanced, ID3D11DeviceContext, DrawInstanced, 21)                   \
    SLOT(context_set_targets, ID3D11DeviceContext, OMSetRenderTargets, 33)                 \
    SLOT(context_set_targets_and_uavs, ID3D11DeviceContext,                                \
         OMSetRenderTargetsAndUnorderedAccessViews, 34)                                    \
    SLOT(context_set_blend, ID3D11DeviceContext, OMSetBlendState, 35)                      \
    SLOT(context_set_depth_state, ID3D11DeviceContext, OMSetDepthStencilState, 36)         \
    SLOT(context_draw_indexed_indirect, ID3D11DeviceContext, DrawIndexedInstancedIndirect, 39) \
    SLOT(context_draw_indirect, ID3D11DeviceContext, DrawInstancedIndirect, 40)            \
    SLOT(context_clear_depth, ID3D11DeviceContext, ClearDepthStencilView, 53)              \
    SLOT(context_execute_list, ID3D11DeviceContext, ExecuteCommandList, 58)                \
    SLOT(context_clear_state, ID3D11DeviceContext, ClearState, 110)                        \
    SLOT(device12_create_pipeline, ID3D12Device, CreateGraphicsPipelineState, 10)          \
    SLOT(device12_create_target_view, ID3D12Device, CreateRenderTargetView, 20)            \
    SLOT(device12_create_depth_view, ID3D12Device, CreateDepthStencilView, 21)             \
    SLOT(device12_copy_descriptors, ID3D12Device, CopyDescriptors, 23)                     \
    SLOT(device12_copy_descriptors_simple, ID3D12Device, CopyDescriptorsSimple, 24)        \
    SLOT(device12_create_committed, ID3D12Device, CreateCommittedResource, 27)             \
    SLOT(device12_create_placed, ID3D12Device, CreatePlacedResource, 29)                   \
    SLOT(queue12_execute, ID3D12CommandQueue, ExecuteCommandLists, 10)                     \
    SLOT(list12_reset, ID3D12GraphicsCommandList, Reset, 10)                               \
    SLOT(list12_draw, ID3D12GraphicsCommandList, DrawInstanced, 12)                        \
    SLOT(list12_draw_indexed, ID3D12GraphicsCommandList, DrawIndexedInstanced, 13)         \
    SLOT(list12_set_pipeline, ID3D12GraphicsCommandList, SetPipelineState, 25)             \
    SLOT(list12_barrier, ID3D12GraphicsCommandList, ResourceBarrier, 26)                   \
    SLOT(list12_bundle, ID3D12GraphicsCommandList, ExecuteBundle, 27)                      \
    SLOT(list12_set_targets, ID3D12GraphicsCommandList, OMSetRenderTargets, 46)            \
    SLOT(list12_clear_depth, ID3D12GraphicsCommandList, ClearDepthStencilView, 47)         \
    SLOT(list12_indirect, ID3D12GraphicsCommandList, ExecuteIndirect, 59)

#ifdef __cplusplus
namespace realmaster::slots {
#define REALMASTER_SLOT_CONSTANT(name, type, method, number) constexpr unsigned name = number;
REALMASTER_SLOTS(REALMASTER_SLOT_CONSTANT)
#undef REALMASTER_SLOT_CONSTANT
}  // namespace realmaster::slots
#endif

#endif
