// See resolver.h.
#include "resolver.h"

#include <d3dcompiler.h>

#include <cstring>

namespace realmaster::d3d11 {

namespace {

constexpr char shaders[] = R"(
float4 triangle_vs(uint id : SV_VertexID) : SV_Position {
    float n = id;  // 0, 1, 2 give the corners (-1, -1), (3, -1), (-1, 3)
    return float4(4.0 * n * (2.0 - n) - 1.0, 2.0 * n * (n - 1.0) - 1.0, 0.0, 1.0);
}
Texture2D<float> depth_in : register(t0);
float depth_ps(float4 at : SV_Position) : SV_Target {
    return depth_in.Load(int3(at.xy, 0));
}
Texture2D<uint2> stencil_in : register(t0);
uint stencil_ps(float4 at : SV_Position) : SV_Target {
    return stencil_in.Load(int3(at.xy, 0)).g;
}
cbuffer Status : register(b0) { float4 status_color; };
float4 color_ps(float4 at : SV_Position) : SV_Target {
    return status_color;
}
)";

using CompileFunction = decltype(&D3DCompile);

// The typeless format of a depth format, and how its two planes are viewed.
struct DepthViews {
    DXGI_FORMAT typeless;
    DXGI_FORMAT depth;
    DXGI_FORMAT stencil;  // unknown: none
};

bool views_of(DXGI_FORMAT format, DepthViews* views) noexcept {
    switch (format) {
        case DXGI_FORMAT_R24G8_TYPELESS:
        case DXGI_FORMAT_D24_UNORM_S8_UINT:
            *views = {DXGI_FORMAT_R24G8_TYPELESS, DXGI_FORMAT_R24_UNORM_X8_TYPELESS,
                      DXGI_FORMAT_X24_TYPELESS_G8_UINT};
            return true;
        case DXGI_FORMAT_R32G8X24_TYPELESS:
        case DXGI_FORMAT_D32_FLOAT_S8X24_UINT:
            *views = {DXGI_FORMAT_R32G8X24_TYPELESS, DXGI_FORMAT_R32_FLOAT_X8X24_TYPELESS,
                      DXGI_FORMAT_X32_TYPELESS_G8X24_UINT};
            return true;
        case DXGI_FORMAT_R32_TYPELESS:
        case DXGI_FORMAT_D32_FLOAT:
            *views = {DXGI_FORMAT_R32_TYPELESS, DXGI_FORMAT_R32_FLOAT, DXGI_FORMAT_UNKNOWN};
            return true;
        case DXGI_FORMAT_R16_TYPELESS:
        case DXGI_FORMAT_D16_UNORM:
            *views = {DXGI_FORMAT_R16_TYPELESS, DXGI_FORMAT_R16_UNORM, DXGI_FORMAT_UNKNOWN};
            return true;
        default:
            return false;
    }
}

}  // namespace

bool Resolver::compile(const char* source, const char* entry, const char* profile, ID3DBlob** out,
                       Log* log) noexcept {
    static const auto function = []() noexcept -> CompileFunction {
        HMODULE module = LoadLibraryA("d3dcompiler_47.dll");
        FARPROC address = module != nullptr ? GetProcAddress(module, "D3DCompile") : nullptr;
        CompileFunction compiled = nullptr;
        std::memcpy(&compiled, &address, sizeof(compiled));
        return compiled;
    }();
    const bool ok = function != nullptr &&
                    SUCCEEDED(function(source, std::strlen(source), nullptr, nullptr, nullptr,
                                       entry, profile, 0, 0, out, nullptr));
    if (!ok) {
        log->line("the shader %s could not be compiled: is d3dcompiler_47.dll there?", entry);
    }
    return ok;
}

bool Resolver::open(ID3D11Device* device, Log* log) noexcept {
    close();
    if (FAILED(device->QueryInterface(IID_ID3D11Device1, device_.out_void()))) {
        log->line("Direct3D 11.1 is needed; this device has only 11.0");
        return false;
    }
    const D3D_FEATURE_LEVEL level = device->GetFeatureLevel();
    if (FAILED(device_->CreateDeviceContextState(0, &level, 1, D3D11_SDK_VERSION, IID_ID3D11Device1,
                                                 nullptr, state_.out()))) {
        log->line("the device gives no second context state");
        return false;
    }
    Com<ID3DBlob> code;
    const auto pixel_shader = [&](const char* entry, Com<ID3D11PixelShader>* shader) {
        return compile(shaders, entry, "ps_4_0", code.out(), log) &&
               SUCCEEDED(device->CreatePixelShader(code->GetBufferPointer(), code->GetBufferSize(),
                                                   nullptr, shader->out()));
    };
    bool ok = compile(shaders, "triangle_vs", "vs_4_0", code.out(), log) &&
              SUCCEEDED(device->CreateVertexShader(code->GetBufferPointer(), code->GetBufferSize(),
                                                   nullptr, triangle_.out()));
    ok = ok && pixel_shader("depth_ps", &depth_shader_) &&
         pixel_shader("stencil_ps", &stencil_shader_) && pixel_shader("color_ps", &color_shader_);
    D3D11_BUFFER_DESC constants{};
    constants.ByteWidth = 16;
    constants.BindFlags = D3D11_BIND_CONSTANT_BUFFER;
    ok = ok && SUCCEEDED(device->CreateBuffer(&constants, nullptr, color_.out()));
    D3D11_RASTERIZER_DESC rasterizer{};
    rasterizer.FillMode = D3D11_FILL_SOLID;
    rasterizer.CullMode = D3D11_CULL_NONE;
    rasterizer.DepthClipEnable = TRUE;
    ok = ok && SUCCEEDED(device->CreateRasterizerState(&rasterizer, rasterizer_.out()));
    D3D11_DEPTH_STENCIL_DESC no_depth{};
    no_depth.DepthFunc = D3D11_COMPARISON_ALWAYS;
    ok = ok && SUCCEEDED(device->CreateDepthStencilState(&no_depth, no_depth_.out()));
    if (!ok) {
        log->line("the shaders that read depth could not be made");
    }
    return ok;
}

void Resolver::close() noexcept {
    *this = Resolver();
}

bool Resolver::ensure_copy(const D3D11_TEXTURE2D_DESC& source) noexcept {
    const bool same = copied_.Width == source.Width && copied_.Height == source.Height &&
                      copied_.Format == source.Format;
    if (copy_ && same) {
        return true;
    }
    DepthViews views{};
    if (!views_of(source.Format, &views) || source.SampleDesc.Count != 1 ||
        source.ArraySize != 1 || source.MipLevels != 1) {
        return false;
    }
    copied_ = source;
    stencil_view_.reset();
    stencil_out_.reset();
    D3D11_TEXTURE2D_DESC desc{source.Width, source.Height, 1, 1, views.typeless, {1, 0},
                              D3D11_USAGE_DEFAULT, D3D11_BIND_SHADER_RESOURCE, 0, 0};
    D3D11_SHADER_RESOURCE_VIEW_DESC view{};
    view.Format = views.depth;
    view.ViewDimension = D3D11_SRV_DIMENSION_TEXTURE2D;
    view.Texture2D.MipLevels = 1;
    bool ok = SUCCEEDED(device_->CreateTexture2D(&desc, nullptr, copy_.out())) &&
              SUCCEEDED(device_->CreateShaderResourceView(copy_.get(), &view, depth_view_.out()));
    desc.Format = DXGI_FORMAT_R32_FLOAT;
    desc.BindFlags = D3D11_BIND_RENDER_TARGET;
    ok = ok && SUCCEEDED(device_->CreateTexture2D(&desc, nullptr, depth_out_.out())) &&
         SUCCEEDED(
             device_->CreateRenderTargetView(depth_out_.get(), nullptr, depth_target_.out()));
    if (ok && views.stencil != DXGI_FORMAT_UNKNOWN) {
        view.Format = views.stencil;
        desc.Format = DXGI_FORMAT_R8_UINT;
        const bool stencil =
            SUCCEEDED(
                device_->CreateShaderResourceView(copy_.get(), &view, stencil_view_.out())) &&
            SUCCEEDED(device_->CreateTexture2D(&desc, nullptr, stencil_out_.out())) &&
            SUCCEEDED(device_->CreateRenderTargetView(stencil_out_.get(), nullptr,
                                                      stencil_target_.out()));
        if (!stencil) {
            stencil_out_.reset();
        }
    }
    if (!ok) {
        copy_.reset();
    }
    return ok;
}

bool Resolver::copy_depth(ID3D11DeviceContext1* context, ID3D11Texture2D* depth) noexcept {
    D3D11_TEXTURE2D_DESC desc{};
    depth->GetDesc(&desc);
    if (!ensure_copy(desc)) {
        return false;
    }
    context->CopyResource(copy_.get(), depth);
    return true;
}

void Resolver::draw(ID3D11DeviceContext1* context, ID3D11RenderTargetView* target,
                    ID3D11ShaderResourceView* source, ID3D11PixelShader* shader, UINT width,
                    UINT height, ID3D11Buffer* constants) noexcept {
    Com<ID3DDeviceContextState> of_game;
    context->SwapDeviceContextState(state_.get(), of_game.out());
    const D3D11_VIEWPORT viewport{
        0, 0, static_cast<float>(width), static_cast<float>(height), 0, 1};
    context->OMSetRenderTargets(1, &target, nullptr);
    context->OMSetDepthStencilState(no_depth_.get(), 0);
    context->RSSetState(rasterizer_.get());
    context->RSSetViewports(1, &viewport);
    context->IASetPrimitiveTopology(D3D11_PRIMITIVE_TOPOLOGY_TRIANGLELIST);
    context->VSSetShader(triangle_.get(), nullptr, 0);
    context->PSSetShader(shader, nullptr, 0);
    context->PSSetShaderResources(0, 1, &source);
    context->PSSetConstantBuffers(0, 1, &constants);
    context->Draw(3, 0);
    ID3D11ShaderResourceView* no_source = nullptr;
    ID3D11RenderTargetView* no_target = nullptr;
    context->PSSetShaderResources(0, 1, &no_source);
    context->OMSetRenderTargets(1, &no_target, nullptr);  // keep no reference to the back buffer
    context->SwapDeviceContextState(of_game.get(), nullptr);
}

ID3D11Texture2D* Resolver::resolve_depth(ID3D11DeviceContext1* context) noexcept {
    draw(context, depth_target_.get(), depth_view_.get(), depth_shader_.get(), copied_.Width,
         copied_.Height, nullptr);
    return depth_out_.get();
}

ID3D11Texture2D* Resolver::resolve_stencil(ID3D11DeviceContext1* context) noexcept {
    if (stencil_out_) {
        draw(context, stencil_target_.get(), stencil_view_.get(), stencil_shader_.get(),
             copied_.Width, copied_.Height, nullptr);
    }
    return stencil_out_.get();
}

void Resolver::draw_status(ID3D11DeviceContext1* context, ID3D11Texture2D* back_buffer, UINT side,
                           const std::array<float, 4>& color) noexcept {
    Com<ID3D11RenderTargetView> target;
    if (FAILED(device_->CreateRenderTargetView(back_buffer, nullptr, target.out()))) {
        return;
    }
    context->UpdateSubresource(color_.get(), 0, nullptr, color.data(), 0, 0);
    draw(context, target.get(), nullptr, color_shader_.get(), side, side, color_.get());
}

}  // namespace realmaster::d3d11
