// Draws with a device context state of our own, so that the game's state is untouched: depth and
// stencil of a private copy into formats that can be read back, and the status square.
// A direct copy of depth to a staging texture is not portable: its bytes differ between drivers.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <d3d11_1.h>

#include <array>

#include "com_ptr.h"
#include "log.h"

namespace realmaster::d3d11 {

class Resolver {
public:
    // False, with a line in the log, where the device lacks something; then nothing is captured.
    bool open(ID3D11Device* device, Log* log) noexcept;
    void close() noexcept;

    // Copies the whole depth texture into the private one (formats as depth_layout_of).
    bool copy_depth(ID3D11DeviceContext1* context, ID3D11Texture2D* depth) noexcept;

    // From the private copy. R32_FLOAT of device depth; R8_UINT of stencil, null where there is
    // none. The textures stay ours.
    ID3D11Texture2D* resolve_depth(ID3D11DeviceContext1* context) noexcept;
    ID3D11Texture2D* resolve_stencil(ID3D11DeviceContext1* context) noexcept;

    // A square of `side` pixels at the top left corner.
    void draw_status(ID3D11DeviceContext1* context, ID3D11Texture2D* back_buffer, UINT side,
                     const std::array<float, 4>& color) noexcept;

private:
    bool compile(const char* source, const char* entry, const char* profile, ID3DBlob** out,
                 Log* log) noexcept;
    bool ensure_copy(const D3D11_TEXTURE2D_DESC& source) noexcept;
    void draw(ID3D11DeviceContext1* context, ID3D11RenderTargetView* target,
              ID3D11ShaderResourceView* source, ID3D11PixelShader* shader, UINT width, UINT height,
              ID3D11Buffer* constants) noexcept;

    Com<ID3D11Device1> device_;
    Com<ID3DDeviceContextState> state_;
    Com<ID3D11VertexShader> triangle_;
    Com<ID3D11PixelShader> depth_shader_;
    Com<ID3D11PixelShader> stencil_shader_;
    Com<ID3D11PixelShader> color_shader_;
    Com<ID3D11Buffer> color_;
    Com<ID3D11RasterizerState> rasterizer_;
    Com<ID3D11DepthStencilState> no_depth_;
    D3D11_TEXTURE2D_DESC copied_{};
    Com<ID3D11Texture2D> copy_;
    Com<ID3D11ShaderResourceView> depth_view_;
    Com<ID3D11ShaderResourceView> stencil_view_;
    Com<ID3D11Texture2D> depth_out_;
    Com<ID3D11RenderTargetView> depth_target_;
    Com<ID3D11Texture2D> stencil_out_;
    Com<ID3D11RenderTargetView> stencil_target_;
};

}  // namespace realmaster::d3d11
