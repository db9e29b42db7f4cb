// A small Direct3D 12 game of known geometry: shadow decoy, G-buffer of two targets with reversed-Z
// depth, composition, a stamp of the frame's number, a HUD in a list of its own, Present.
#define INITGUID
#define WIDL_EXPLICIT_AGGREGATE_RETURNS
#include "options.h"

#include <d3d12.h>
#include <d3dcompiler.h>
#include <dxgi1_4.h>

#include "../../../engine_plugins/dxgi/com_ptr.h"

namespace {

using realmaster::Com;
using Handle = D3D12_CPU_DESCRIPTOR_HANDLE;

constexpr UINT num_buffers = 2;
constexpr UINT constant_bytes = 256;

struct Formats {
    DXGI_FORMAT texture;
    DXGI_FORMAT view;
};

Formats formats_of(const std::string& name) {
    if (name == "r32") {
        return {DXGI_FORMAT_R32_TYPELESS, DXGI_FORMAT_D32_FLOAT};
    }
    if (name == "d24s8") {
        return {DXGI_FORMAT_R24G8_TYPELESS, DXGI_FORMAT_D24_UNORM_S8_UINT};
    }
    if (name == "d32s8") {
        return {DXGI_FORMAT_R32G8X24_TYPELESS, DXGI_FORMAT_D32_FLOAT_S8X24_UINT};
    }
    return {DXGI_FORMAT_D32_FLOAT, DXGI_FORMAT_D32_FLOAT};
}

class Game {
public:
    explicit Game(const Options& options) : options_(options), host_(options) {}

    [[noreturn]] void run() {
        host_.start();
        window_ = open_window(options_.width, options_.height);
        open_device();
        open_chain();
        open_pipelines();
        open_buffers();
        open_targets();
        int frame = 0;
        for (; host_.next(frame); ++frame) {
            if (frame == options_.resize_at) {
                resize();
            }
            draw(frame);
            present();
            if (options_.generated) {
                present();
            }
        }
        host_.finish(frame);
    }

private:
    void open_device() {
        check(D3D12CreateDevice(nullptr, D3D_FEATURE_LEVEL_11_0, IID_ID3D12Device,
                                device_.out_void()),
              "D3D12CreateDevice");
        const D3D12_COMMAND_QUEUE_DESC direct{D3D12_COMMAND_LIST_TYPE_DIRECT, 0,
                                              D3D12_COMMAND_QUEUE_FLAG_NONE, 0};
        check(device_->CreateCommandQueue(&direct, IID_ID3D12CommandQueue, queue_.out_void()),
              "CreateCommandQueue");
        for (int i = 0; i < 2; ++i) {
            check(device_->CreateCommandAllocator(D3D12_COMMAND_LIST_TYPE_DIRECT,
                                                  IID_ID3D12CommandAllocator,
                                                  allocators_[i].out_void()),
                  "CreateCommandAllocator");
            check(device_->CreateCommandList(0, D3D12_COMMAND_LIST_TYPE_DIRECT,
                                             allocators_[i].get(), nullptr,
                                             IID_ID3D12GraphicsCommandList, lists_[i].out_void()),
                  "CreateCommandList");
            lists_[i]->Close();
        }
        check(device_->CreateFence(0, D3D12_FENCE_FLAG_NONE, IID_ID3D12Fence, fence_.out_void()),
              "CreateFence");
        idle_ = CreateEventA(nullptr, FALSE, FALSE, nullptr);
    }

    void open_chain() {
        Com<IDXGIFactory2> factory;
        check(CreateDXGIFactory1(IID_IDXGIFactory2, factory.out_void()), "CreateDXGIFactory1");
        DXGI_SWAP_CHAIN_DESC1 desc{};
        desc.Width = options_.width;
        desc.Height = options_.height;
        desc.Format = DXGI_FORMAT_R8G8B8A8_UNORM;
        desc.SampleDesc.Count = 1;
        desc.BufferUsage = DXGI_USAGE_RENDER_TARGET_OUTPUT;
        desc.BufferCount = num_buffers;
        desc.SwapEffect = DXGI_SWAP_EFFECT_FLIP_DISCARD;
        Com<IDXGISwapChain1> chain;
        check(factory->CreateSwapChainForHwnd(queue_.get(), window_, &desc, nullptr, nullptr,
                                              chain.out()),
              "CreateSwapChainForHwnd");
        check(chain->QueryInterface(IID_IDXGISwapChain3, chain_.out_void()), "IDXGISwapChain3");
    }

    Com<ID3DBlob> compile(const char* entry, const char* profile) {
        Com<ID3DBlob> code;
        check(D3DCompile(scene::shaders, std::strlen(scene::shaders), nullptr, nullptr, nullptr,
                         entry, profile, 0, 0, code.out(), nullptr),
              entry);
        return code;
    }

    void open_pipelines() {
        D3D12_ROOT_PARAMETER parameter{};
        parameter.ParameterType = D3D12_ROOT_PARAMETER_TYPE_CBV;
        D3D12_ROOT_SIGNATURE_DESC desc{};
        desc.NumParameters = 1;
        desc.pParameters = &parameter;
        desc.Flags = D3D12_ROOT_SIGNATURE_FLAG_ALLOW_INPUT_ASSEMBLER_INPUT_LAYOUT;
        Com<ID3DBlob> blob;
        check(D3D12SerializeRootSignature(&desc, D3D_ROOT_SIGNATURE_VERSION_1, blob.out(), nullptr),
              "D3D12SerializeRootSignature");
        check(device_->CreateRootSignature(0, blob->GetBufferPointer(), blob->GetBufferSize(),
                                           IID_ID3D12RootSignature, signature_.out_void()),
              "CreateRootSignature");
        scene_ = pipeline("scene_vs", "scene_ps", true, 2, false);
        shadow_pipeline_ = pipeline("scene_vs", nullptr, true, 0, false);
        stamp_ = pipeline("full_vs", "stamp_ps", false, 1, false);
        hud_ = pipeline("full_vs", "hud_ps", false, 1, true);
    }

    Com<ID3D12PipelineState> pipeline(const char* vertex, const char* pixel, bool depth,
                                      UINT targets, bool blends) {
        const D3D12_INPUT_ELEMENT_DESC layout[] = {
            {"POSITION", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 0,
             D3D12_INPUT_CLASSIFICATION_PER_VERTEX_DATA, 0},
            {"NORMAL", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 12,
             D3D12_INPUT_CLASSIFICATION_PER_VERTEX_DATA, 0},
            {"COLOR", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 24,
             D3D12_INPUT_CLASSIFICATION_PER_VERTEX_DATA, 0}};
        const Com<ID3DBlob> vertex_code = compile(vertex, "vs_5_0");
        const Com<ID3DBlob> pixel_code = pixel != nullptr ? compile(pixel, "ps_5_0") : Com<ID3DBlob>();
        D3D12_GRAPHICS_PIPELINE_STATE_DESC desc{};
        desc.pRootSignature = signature_.get();
        desc.VS = {vertex_code->GetBufferPointer(), vertex_code->GetBufferSize()};
        if (pixel_code) {
            desc.PS = {pixel_code->GetBufferPointer(), pixel_code->GetBufferSize()};
        }
        for (auto& target : desc.BlendState.RenderTarget) {
            target = {blends ? TRUE : FALSE,
                      FALSE,
                      D3D12_BLEND_SRC_ALPHA,
                      D3D12_BLEND_INV_SRC_ALPHA,
                      D3D12_BLEND_OP_ADD,
                      D3D12_BLEND_ONE,
                      D3D12_BLEND_ZERO,
                      D3D12_BLEND_OP_ADD,
                      D3D12_LOGIC_OP_NOOP,
                      D3D12_COLOR_WRITE_ENABLE_ALL};
        }
        desc.SampleMask = ~0U;
        desc.RasterizerState.FillMode = D3D12_FILL_MODE_SOLID;
        desc.RasterizerState.CullMode = D3D12_CULL_MODE_NONE;
        desc.RasterizerState.DepthClipEnable = TRUE;
        desc.DepthStencilState.DepthEnable = depth ? TRUE : FALSE;
        desc.DepthStencilState.DepthWriteMask = D3D12_DEPTH_WRITE_MASK_ALL;
        desc.DepthStencilState.DepthFunc = options_.projection.reversed_z
                                               ? D3D12_COMPARISON_FUNC_GREATER
                                               : D3D12_COMPARISON_FUNC_LESS;
        const bool stencil = options_.format == "d24s8" || options_.format == "d32s8";
        desc.DepthStencilState.StencilEnable = depth && stencil ? TRUE : FALSE;
        desc.DepthStencilState.StencilReadMask = desc.DepthStencilState.StencilWriteMask = 0xFF;
        desc.DepthStencilState.FrontFace = {D3D12_STENCIL_OP_KEEP, D3D12_STENCIL_OP_KEEP,
                                            D3D12_STENCIL_OP_REPLACE,
                                            D3D12_COMPARISON_FUNC_ALWAYS};
        desc.DepthStencilState.BackFace = desc.DepthStencilState.FrontFace;
        if (depth) {
            desc.InputLayout = {layout, 3};
            desc.DSVFormat = formats_of(options_.format).view;
        }
        desc.PrimitiveTopologyType = D3D12_PRIMITIVE_TOPOLOGY_TYPE_TRIANGLE;
        desc.NumRenderTargets = targets;
        for (UINT i = 0; i < targets; ++i) {
            desc.RTVFormats[i] = DXGI_FORMAT_R8G8B8A8_UNORM;
        }
        desc.SampleDesc.Count = 1;
        Com<ID3D12PipelineState> made;
        check(device_->CreateGraphicsPipelineState(&desc, IID_ID3D12PipelineState,
                                                   made.out_void()),
              pixel != nullptr ? pixel : vertex);
        return made;
    }

    Com<ID3D12Resource> upload_buffer(UINT64 bytes, void** mapped) {
        D3D12_HEAP_PROPERTIES heap{};
        heap.Type = D3D12_HEAP_TYPE_UPLOAD;
        D3D12_RESOURCE_DESC desc{};
        desc.Dimension = D3D12_RESOURCE_DIMENSION_BUFFER;
        desc.Width = bytes;
        desc.Height = desc.DepthOrArraySize = desc.MipLevels = 1;
        desc.SampleDesc.Count = 1;
        desc.Layout = D3D12_TEXTURE_LAYOUT_ROW_MAJOR;
        Com<ID3D12Resource> made;
        check(device_->CreateCommittedResource(&heap, D3D12_HEAP_FLAG_NONE, &desc,
                                               D3D12_RESOURCE_STATE_GENERIC_READ, nullptr,
                                               IID_ID3D12Resource, made.out_void()),
              "an upload buffer");
        check(made->Map(0, nullptr, mapped), "Map");
        return made;
    }

    void open_buffers() {
        const std::vector<scene::Vertex> vertices = scene::vertices();
        const auto bytes = static_cast<UINT>(vertices.size() * sizeof(scene::Vertex));
        void* mapped = nullptr;
        vertices_ = upload_buffer(bytes, &mapped);
        std::memcpy(mapped, vertices.data(), bytes);
        vertex_view_ = {vertices_->GetGPUVirtualAddress(), bytes, sizeof(scene::Vertex)};
        constants_ = upload_buffer(constant_bytes, &mapped_constants_);
        heap(D3D12_DESCRIPTOR_HEAP_TYPE_RTV, 2 + num_buffers, &target_heap_);
        heap(D3D12_DESCRIPTOR_HEAP_TYPE_DSV, 2, &depth_heap_);
    }

    void heap(D3D12_DESCRIPTOR_HEAP_TYPE type, UINT count, Com<ID3D12DescriptorHeap>* made) {
        const D3D12_DESCRIPTOR_HEAP_DESC desc{
            type, count, D3D12_DESCRIPTOR_HEAP_FLAG_NONE, 0};
        check(device_->CreateDescriptorHeap(&desc, IID_ID3D12DescriptorHeap, made->out_void()),
              "CreateDescriptorHeap");
    }

    Handle handle(const Com<ID3D12DescriptorHeap>& heap, D3D12_DESCRIPTOR_HEAP_TYPE type,
                  UINT index) {
        Handle start{};
        heap->GetCPUDescriptorHandleForHeapStart(&start);
        start.ptr += SIZE_T{index} * device_->GetDescriptorHandleIncrementSize(type);
        return start;
    }
    Handle target(UINT index) {
        return handle(target_heap_, D3D12_DESCRIPTOR_HEAP_TYPE_RTV, index);
    }
    Handle depth_view(UINT index) {
        return handle(depth_heap_, D3D12_DESCRIPTOR_HEAP_TYPE_DSV, index);
    }

    Com<ID3D12Resource> texture(unsigned width, unsigned height, DXGI_FORMAT format,
                                D3D12_RESOURCE_FLAGS flags, D3D12_RESOURCE_STATES state,
                                const D3D12_CLEAR_VALUE& clear) {
        D3D12_HEAP_PROPERTIES heap{};
        heap.Type = D3D12_HEAP_TYPE_DEFAULT;
        D3D12_RESOURCE_DESC desc{};
        desc.Dimension = D3D12_RESOURCE_DIMENSION_TEXTURE2D;
        desc.Width = width;
        desc.Height = height;
        desc.DepthOrArraySize = desc.MipLevels = 1;
        desc.Format = format;
        desc.SampleDesc.Count = 1;
        desc.Flags = flags;
        Com<ID3D12Resource> made;
        check(device_->CreateCommittedResource(&heap, D3D12_HEAP_FLAG_NONE, &desc, state, &clear,
                                               IID_ID3D12Resource, made.out_void()),
              "a texture");
        return made;
    }

    Com<ID3D12Resource> depth_buffer(unsigned width, unsigned height, UINT view) {
        const Formats formats = formats_of(options_.format);
        D3D12_CLEAR_VALUE clear{};
        clear.Format = formats.view;
        clear.DepthStencil = {clear_depth(), 0};
        Com<ID3D12Resource> made =
            texture(width, height, formats.texture, D3D12_RESOURCE_FLAG_ALLOW_DEPTH_STENCIL,
                    D3D12_RESOURCE_STATE_PIXEL_SHADER_RESOURCE, clear);
        D3D12_DEPTH_STENCIL_VIEW_DESC desc{};
        desc.Format = formats.view;
        desc.ViewDimension = D3D12_DSV_DIMENSION_TEXTURE2D;
        device_->CreateDepthStencilView(made.get(), &desc, depth_view(view));
        return made;
    }

    [[nodiscard]] float clear_depth() const {
        return options_.projection.reversed_z ? 0.0F : 1.0F;
    }

    // No upscaling here: Wine 8's Direct3D 12 takes no descriptor table, so the picture is copied.
    void open_targets() {
        render_width_ = options_.width;
        render_height_ = options_.height;
        for (UINT i = 0; i < 2; ++i) {
            D3D12_CLEAR_VALUE clear{};
            clear.Format = DXGI_FORMAT_R8G8B8A8_UNORM;
            std::memcpy(clear.Color, clear_colors[i], sizeof(clear.Color));
            targets_[i] = texture(render_width_, render_height_, clear.Format,
                                  D3D12_RESOURCE_FLAG_ALLOW_RENDER_TARGET,
                                  D3D12_RESOURCE_STATE_PIXEL_SHADER_RESOURCE, clear);
            device_->CreateRenderTargetView(targets_[i].get(), nullptr, target(i));
        }
        depth_ = depth_buffer(render_width_, render_height_, 0);
        shadow_ = depth_buffer(1024, 1024, 1);
        for (UINT i = 0; i < num_buffers; ++i) {
            check(chain_->GetBuffer(i, IID_ID3D12Resource, buffers_[i].out_void()), "GetBuffer");
            device_->CreateRenderTargetView(buffers_[i].get(), nullptr, target(2 + i));
        }
    }

    void resize() {
        for (auto& buffer : buffers_) {
            buffer.reset();
        }
        options_.width = options_.resize_width;
        options_.height = options_.resize_height;
        check(chain_->ResizeBuffers(0, options_.width, options_.height, DXGI_FORMAT_UNKNOWN, 0),
              "ResizeBuffers");
        open_targets();
    }

    void barrier(ID3D12GraphicsCommandList* list, const Com<ID3D12Resource>& texture,
                 D3D12_RESOURCE_STATES before, D3D12_RESOURCE_STATES after) {
        D3D12_RESOURCE_BARRIER change{};
        change.Type = D3D12_RESOURCE_BARRIER_TYPE_TRANSITION;
        change.Transition = {texture.get(), D3D12_RESOURCE_BARRIER_ALL_SUBRESOURCES, before, after};
        list->ResourceBarrier(1, &change);
    }

    void set_viewport(ID3D12GraphicsCommandList* list, unsigned x, unsigned y, unsigned width,
                      unsigned height) {
        const D3D12_VIEWPORT viewport{static_cast<float>(x),     static_cast<float>(y),
                                      static_cast<float>(width), static_cast<float>(height),
                                      0,                         1};
        const D3D12_RECT scissor{static_cast<LONG>(x), static_cast<LONG>(y),
                                 static_cast<LONG>(x + width), static_cast<LONG>(y + height)};
        list->RSSetViewports(1, &viewport);
        list->RSSetScissorRects(1, &scissor);
    }

    void draw_boxes(ID3D12GraphicsCommandList* list, int times) {
        list->IASetVertexBuffers(0, 1, &vertex_view_);
        for (int time = 0; time < times; ++time) {
            for (UINT box = 0; box < scene::boxes().size(); ++box) {
                list->OMSetStencilRef(box == 0 ? 4 : 2 + 0x80);
                list->DrawInstanced(scene::vertices_per_box, 1, box * scene::vertices_per_box, 0);
            }
        }
    }

    void begin(ID3D12GraphicsCommandList* list, ID3D12CommandAllocator* allocator) {
        check(allocator->Reset(), "Reset");
        check(list->Reset(allocator, nullptr), "Reset");
        list->SetGraphicsRootSignature(signature_.get());
        list->SetGraphicsRootConstantBufferView(0, constants_->GetGPUVirtualAddress());
        list->IASetPrimitiveTopology(D3D_PRIMITIVE_TOPOLOGY_TRIANGLELIST);
    }

    void clear(ID3D12GraphicsCommandList* list, const Handle& view, UINT8 stencil) {
        const bool has_stencil = options_.format == "d24s8" || options_.format == "d32s8";
        const auto flags = has_stencil ? D3D12_CLEAR_FLAG_DEPTH | D3D12_CLEAR_FLAG_STENCIL
                                       : D3D12_CLEAR_FLAG_DEPTH;
        list->ClearDepthStencilView(view, flags, clear_depth(), stencil, 0, nullptr);
    }

    void draw(int frame) {
        const double aspect = static_cast<double>(options_.width) / options_.height;
        scene::Constants constants =
            scene::constants(options_.straight ? 0 : frame, aspect, options_.projection,
                             options_.world_normals);
        scene::set_stamp(frame, &constants);
        std::memcpy(mapped_constants_, &constants, sizeof(constants));
        draw_scene(lists_[0].get());
        draw_hud(lists_[1].get());
        ID3D12CommandList* const both[] = {lists_[0].get(), lists_[1].get()};
        queue_->ExecuteCommandLists(options_.hud ? 2 : 1, both);
    }

    void draw_scene(ID3D12GraphicsCommandList* list) {
        const auto readable = D3D12_RESOURCE_STATE_PIXEL_SHADER_RESOURCE;
        const auto writable = D3D12_RESOURCE_STATE_DEPTH_WRITE;
        begin(list, allocators_[0].get());
        if (options_.decoy) {  // larger, and drawn to as often
            barrier(list, shadow_, readable, writable);
            const Handle view = depth_view(1);
            list->OMSetRenderTargets(0, nullptr, FALSE, &view);
            clear(list, view, 0);
            set_viewport(list, 0, 0, 1024, 1024);
            list->SetPipelineState(shadow_pipeline_.get());
            draw_boxes(list, 2);
            barrier(list, shadow_, writable, readable);
        }
        for (const auto& texture : targets_) {
            barrier(list, texture, readable, D3D12_RESOURCE_STATE_RENDER_TARGET);
        }
        barrier(list, depth_, readable, writable);
        const Handle first = target(0);
        const Handle view = depth_view(0);
        list->OMSetRenderTargets(2, &first, TRUE, &view);
        for (UINT i = 0; i < 2; ++i) {
            list->ClearRenderTargetView(target(i), clear_colors[i], 0, nullptr);
        }
        clear(list, view, 7);
        set_viewport(list, 0, 0, render_width_, render_height_);
        list->SetPipelineState(scene_.get());
        draw_boxes(list, 1);
        if (options_.clear_late) {
            clear(list, view, 0);
        }
        barrier(list, depth_, writable, readable);
        barrier(list, targets_[0], D3D12_RESOURCE_STATE_RENDER_TARGET,
                D3D12_RESOURCE_STATE_COPY_SOURCE);
        barrier(list, targets_[1], D3D12_RESOURCE_STATE_RENDER_TARGET, readable);
        compose(list);
        check(list->Close(), "Close");
    }

    void compose(ID3D12GraphicsCommandList* list) {
        const UINT index = chain_->GetCurrentBackBufferIndex();
        const Handle back = target(2 + index);
        barrier(list, buffers_[index], D3D12_RESOURCE_STATE_PRESENT,
                D3D12_RESOURCE_STATE_COPY_DEST);
        list->CopyResource(buffers_[index].get(), targets_[0].get());
        barrier(list, targets_[0], D3D12_RESOURCE_STATE_COPY_SOURCE,
                D3D12_RESOURCE_STATE_PIXEL_SHADER_RESOURCE);
        barrier(list, buffers_[index], D3D12_RESOURCE_STATE_COPY_DEST,
                D3D12_RESOURCE_STATE_RENDER_TARGET);
        list->OMSetRenderTargets(1, &back, FALSE, nullptr);
        set_viewport(list, 0, options_.height - 8, 8, 8);
        list->SetPipelineState(stamp_.get());
        list->DrawInstanced(3, 1, 0, 0);
        if (!options_.hud) {
            barrier(list, buffers_[index], D3D12_RESOURCE_STATE_RENDER_TARGET,
                    D3D12_RESOURCE_STATE_PRESENT);
        }
    }

    void draw_hud(ID3D12GraphicsCommandList* list) {
        const UINT index = chain_->GetCurrentBackBufferIndex();
        const Handle back = target(2 + index);
        begin(list, allocators_[1].get());
        list->OMSetRenderTargets(1, &back, FALSE, nullptr);
        list->SetPipelineState(hud_.get());
        set_viewport(list, options_.width - 120, options_.height - 60, 100, 40);
        list->DrawInstanced(3, 1, 0, 0);
        set_viewport(list, options_.width - 120, 20, 60, 20);
        list->DrawInstanced(3, 1, 0, 0);
        barrier(list, buffers_[index], D3D12_RESOURCE_STATE_RENDER_TARGET,
                D3D12_RESOURCE_STATE_PRESENT);
        check(list->Close(), "Close");
    }

    void present() {
        check(chain_->Present(0, 0), "Present");
        check(queue_->Signal(fence_.get(), ++fence_value_), "Signal");
        if (fence_->GetCompletedValue() < fence_value_) {
            check(fence_->SetEventOnCompletion(fence_value_, idle_), "SetEventOnCompletion");
            WaitForSingleObject(idle_, INFINITE);
        }
    }

    static constexpr float clear_colors[2][4] = {{0.4F, 0.6F, 0.8F, 1.0F},
                                                 {0.5F, 0.5F, 0.5F, 0.0F}};
    Options options_;
    Host host_;
    HWND window_ = nullptr;
    HANDLE idle_ = nullptr;
    UINT64 fence_value_ = 0;
    unsigned render_width_ = 0;
    unsigned render_height_ = 0;
    void* mapped_constants_ = nullptr;
    Com<ID3D12Device> device_;
    Com<ID3D12CommandQueue> queue_;
    Com<IDXGISwapChain3> chain_;
    Com<ID3D12CommandAllocator> allocators_[2];
    Com<ID3D12GraphicsCommandList> lists_[2];
    Com<ID3D12Fence> fence_;
    Com<ID3D12RootSignature> signature_;
    Com<ID3D12PipelineState> scene_;
    Com<ID3D12PipelineState> shadow_pipeline_;
    Com<ID3D12PipelineState> stamp_;
    Com<ID3D12PipelineState> hud_;
    Com<ID3D12Resource> vertices_;
    D3D12_VERTEX_BUFFER_VIEW vertex_view_{};
    Com<ID3D12Resource> constants_;
    Com<ID3D12DescriptorHeap> target_heap_;
    Com<ID3D12DescriptorHeap> depth_heap_;
    Com<ID3D12Resource> targets_[2];
    Com<ID3D12Resource> depth_;
    Com<ID3D12Resource> shadow_;
    Com<ID3D12Resource> buffers_[num_buffers];
};

}  // namespace

int main(int argc, char** argv) {
    const Options options = read_options(argc, argv);
    Game(options).run();
}
