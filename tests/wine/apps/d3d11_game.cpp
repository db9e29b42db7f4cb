// A small Direct3D 11 game of known geometry: shadow decoy, G-buffer of two targets with reversed-Z
// depth, composition, a stamp of the frame's number, a blended HUD, Present.
#include "options.h"

#include <d3d11.h>
#include <d3dcompiler.h>

#include "../../../engine_plugins/dxgi/com_ptr.h"

namespace {

using realmaster::Com;

struct Formats {
    DXGI_FORMAT texture;
    DXGI_FORMAT view;
};

Formats formats_of(const std::string& name) {
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
        open_pipeline();
        open_targets();
        int frame = 0;
        for (; host_.next(frame); ++frame) {
            if (frame == options_.resize_at) {
                resize();
            }
            draw(frame);
            check(chain_->Present(0, 0), "Present");
            if (options_.generated) {
                check(chain_->Present(0, 0), "Present");
            }
        }
        host_.finish(frame);
    }

private:
    void open_device() {
        DXGI_SWAP_CHAIN_DESC desc{};
        desc.BufferDesc.Width = options_.width;
        desc.BufferDesc.Height = options_.height;
        desc.BufferDesc.Format = DXGI_FORMAT_R8G8B8A8_UNORM;
        desc.SampleDesc.Count = 1;
        desc.BufferUsage = DXGI_USAGE_RENDER_TARGET_OUTPUT;
        desc.BufferCount = 2;
        desc.OutputWindow = window_;
        desc.Windowed = TRUE;
        const D3D_FEATURE_LEVEL level = D3D_FEATURE_LEVEL_11_0;
        check(D3D11CreateDeviceAndSwapChain(nullptr, D3D_DRIVER_TYPE_HARDWARE, nullptr, 0, &level,
                                            1, D3D11_SDK_VERSION, &desc, chain_.out(),
                                            device_.out(), nullptr, context_.out()),
              "D3D11CreateDeviceAndSwapChain");
    }

    Com<ID3DBlob> compile(const char* entry, const char* profile) {
        Com<ID3DBlob> code;
        Com<ID3DBlob> errors;
        const long result =
            D3DCompile(scene::shaders, std::strlen(scene::shaders), nullptr, nullptr, nullptr,
                       entry, profile, 0, 0, code.out(), errors.out());
        if (result < 0 && errors) {
            std::fprintf(stderr, "%s\n", static_cast<const char*>(errors->GetBufferPointer()));
        }
        check(result, entry);
        return code;
    }

    Com<ID3D11PixelShader> pixel_shader(const char* entry) {
        const Com<ID3DBlob> code = compile(entry, "ps_4_0");
        Com<ID3D11PixelShader> shader;
        check(device_->CreatePixelShader(code->GetBufferPointer(), code->GetBufferSize(), nullptr,
                                         shader.out()),
              entry);
        return shader;
    }

    void open_pipeline() {
        Com<ID3DBlob> code = compile("scene_vs", "vs_4_0");
        check(device_->CreateVertexShader(code->GetBufferPointer(), code->GetBufferSize(), nullptr,
                                          scene_vs_.out()),
              "scene_vs");
        const D3D11_INPUT_ELEMENT_DESC layout[] = {
            {"POSITION", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 0, D3D11_INPUT_PER_VERTEX_DATA, 0},
            {"NORMAL", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 12, D3D11_INPUT_PER_VERTEX_DATA, 0},
            {"COLOR", 0, DXGI_FORMAT_R32G32B32_FLOAT, 0, 24, D3D11_INPUT_PER_VERTEX_DATA, 0}};
        check(device_->CreateInputLayout(layout, 3, code->GetBufferPointer(),
                                         code->GetBufferSize(), layout_.out()),
              "CreateInputLayout");
        code = compile("full_vs", "vs_4_0");
        check(device_->CreateVertexShader(code->GetBufferPointer(), code->GetBufferSize(), nullptr,
                                          full_vs_.out()),
              "full_vs");
        scene_ps_ = pixel_shader("scene_ps");
        copy_ps_ = pixel_shader("copy_ps");
        stamp_ps_ = pixel_shader("stamp_ps");
        hud_ps_ = pixel_shader("hud_ps");
        const std::vector<scene::Vertex> vertices = scene::vertices();
        D3D11_BUFFER_DESC buffer{};
        buffer.ByteWidth = static_cast<UINT>(vertices.size() * sizeof(scene::Vertex));
        buffer.BindFlags = D3D11_BIND_VERTEX_BUFFER;
        const D3D11_SUBRESOURCE_DATA data{vertices.data(), 0, 0};
        check(device_->CreateBuffer(&buffer, &data, vertices_.out()), "the vertices");
        buffer.ByteWidth = sizeof(scene::Constants);
        buffer.BindFlags = D3D11_BIND_CONSTANT_BUFFER;
        check(device_->CreateBuffer(&buffer, nullptr, constants_.out()), "the constants");
        D3D11_RASTERIZER_DESC rasterizer{};
        rasterizer.FillMode = D3D11_FILL_SOLID;
        rasterizer.CullMode = D3D11_CULL_NONE;
        rasterizer.DepthClipEnable = TRUE;
        check(device_->CreateRasterizerState(&rasterizer, rasterizer_.out()), "the rasterizer");
        D3D11_DEPTH_STENCIL_DESC depth{};
        depth.DepthEnable = TRUE;
        depth.DepthWriteMask = D3D11_DEPTH_WRITE_MASK_ALL;
        depth.DepthFunc =
            options_.projection.reversed_z ? D3D11_COMPARISON_GREATER : D3D11_COMPARISON_LESS;
        depth.StencilEnable = TRUE;
        depth.StencilReadMask = depth.StencilWriteMask = 0xFF;
        depth.FrontFace = {D3D11_STENCIL_OP_KEEP, D3D11_STENCIL_OP_KEEP, D3D11_STENCIL_OP_REPLACE,
                           D3D11_COMPARISON_ALWAYS};
        depth.BackFace = depth.FrontFace;
        check(device_->CreateDepthStencilState(&depth, depth_test_.out()), "the depth test");
        depth = {};
        check(device_->CreateDepthStencilState(&depth, no_depth_.out()), "no depth test");
        D3D11_BLEND_DESC blend{};
        blend.RenderTarget[0] = {TRUE,
                                 D3D11_BLEND_SRC_ALPHA,
                                 D3D11_BLEND_INV_SRC_ALPHA,
                                 D3D11_BLEND_OP_ADD,
                                 D3D11_BLEND_ONE,
                                 D3D11_BLEND_ZERO,
                                 D3D11_BLEND_OP_ADD,
                                 0xF};
        check(device_->CreateBlendState(&blend, blend_.out()), "the blend state");
    }

    Com<ID3D11Texture2D> texture(unsigned width, unsigned height, DXGI_FORMAT format, UINT bind) {
        const D3D11_TEXTURE2D_DESC desc{width, height, 1, 1, format, {1, 0}, D3D11_USAGE_DEFAULT,
                                        bind,  0,      0};
        Com<ID3D11Texture2D> made;
        check(device_->CreateTexture2D(&desc, nullptr, made.out()), "a texture");
        return made;
    }

    Com<ID3D11DepthStencilView> depth_buffer(unsigned width, unsigned height) {
        const Formats formats = formats_of(options_.format);
        const Com<ID3D11Texture2D> made =
            texture(width, height, formats.texture, D3D11_BIND_DEPTH_STENCIL);
        D3D11_DEPTH_STENCIL_VIEW_DESC view{};
        view.Format = formats.view;
        view.ViewDimension = D3D11_DSV_DIMENSION_TEXTURE2D;
        Com<ID3D11DepthStencilView> depth;
        check(device_->CreateDepthStencilView(made.get(), &view, depth.out()), "a depth view");
        return depth;
    }

    void open_targets() {
        render_width_ = static_cast<unsigned>(options_.width * options_.render_scale);
        render_height_ = static_cast<unsigned>(options_.height * options_.render_scale);
        const UINT bind = D3D11_BIND_RENDER_TARGET | D3D11_BIND_SHADER_RESOURCE;
        for (int i = 0; i < 2; ++i) {
            const Com<ID3D11Texture2D> made =
                texture(render_width_, render_height_, DXGI_FORMAT_R8G8B8A8_UNORM, bind);
            check(device_->CreateRenderTargetView(made.get(), nullptr, targets_[i].out()),
                  "a target");
            if (i == 0) {
                check(device_->CreateShaderResourceView(made.get(), nullptr, picture_.out()),
                      "the picture");
            }
        }
        depth_ = depth_buffer(render_width_, render_height_);
        shadow_ = depth_buffer(1024, 1024);
        Com<ID3D11Texture2D> back;
        check(chain_->GetBuffer(0, IID_ID3D11Texture2D, back.out_void()), "GetBuffer");
        check(device_->CreateRenderTargetView(back.get(), nullptr, back_.out()), "the back buffer");
    }

    void resize() {
        context_->ClearState();
        back_.reset();
        options_.width = options_.resize_width;
        options_.height = options_.resize_height;
        check(chain_->ResizeBuffers(0, options_.width, options_.height, DXGI_FORMAT_UNKNOWN, 0),
              "ResizeBuffers");
        open_targets();
    }

    void set_viewport(float x, float y, float width, float height) {
        const D3D11_VIEWPORT viewport{x, y, width, height, 0, 1};
        context_->RSSetViewports(1, &viewport);
    }

    void set_constants(scene::Constants constants) {
        context_->UpdateSubresource(constants_.get(), 0, nullptr, &constants, 0, 0);
    }

    void draw_boxes(int times) {
        const UINT stride = sizeof(scene::Vertex);
        const UINT offset = 0;
        ID3D11Buffer* const vertices = vertices_.get();
        context_->IASetInputLayout(layout_.get());
        context_->IASetVertexBuffers(0, 1, &vertices, &stride, &offset);
        context_->VSSetShader(scene_vs_.get(), nullptr, 0);
        for (int time = 0; time < times; ++time) {
            for (UINT box = 0; box < scene::boxes().size(); ++box) {
                context_->OMSetDepthStencilState(depth_test_.get(), box == 0 ? 4 : 2 + 0x80);
                context_->Draw(scene::vertices_per_box, box * scene::vertices_per_box);
            }
        }
    }

    void draw(int frame) {
        ID3D11Buffer* const constants = constants_.get();
        const double aspect = static_cast<double>(options_.width) / options_.height;
        scene::Constants now =
            scene::constants(options_.straight ? 0 : frame, aspect, options_.projection,
                             options_.world_normals);
        scene::set_stamp(frame, &now);
        context_->IASetPrimitiveTopology(D3D11_PRIMITIVE_TOPOLOGY_TRIANGLELIST);
        context_->VSSetConstantBuffers(0, 1, &constants);
        context_->PSSetConstantBuffers(0, 1, &constants);
        context_->RSSetState(rasterizer_.get());
        context_->OMSetBlendState(nullptr, nullptr, ~0U);
        now.stamp[3] = static_cast<float>(options_.render_scale);
        set_constants(now);
        const float clear_depth = options_.projection.reversed_z ? 0.0F : 1.0F;
        const UINT both = D3D11_CLEAR_DEPTH | D3D11_CLEAR_STENCIL;
        if (options_.decoy) {  // larger, and drawn to as often
            context_->OMSetRenderTargets(0, nullptr, shadow_.get());
            context_->ClearDepthStencilView(shadow_.get(), both, clear_depth, 0);
            set_viewport(0, 0, 1024, 1024);
            context_->PSSetShader(nullptr, nullptr, 0);
            draw_boxes(2);
        }
        const float sky[4] = {0.4F, 0.6F, 0.8F, 1.0F};
        const float no_normal[4] = {0.5F, 0.5F, 0.5F, 0.0F};
        ID3D11RenderTargetView* const targets[] = {targets_[0].get(), targets_[1].get()};
        ID3D11ShaderResourceView* nothing = nullptr;
        context_->PSSetShaderResources(0, 1, &nothing);
        context_->OMSetRenderTargets(2, targets, depth_.get());
        context_->ClearRenderTargetView(targets[0], sky);
        context_->ClearRenderTargetView(targets[1], no_normal);
        context_->ClearDepthStencilView(depth_.get(), both, clear_depth, 7);
        set_viewport(0, 0, static_cast<float>(render_width_), static_cast<float>(render_height_));
        context_->PSSetShader(scene_ps_.get(), nullptr, 0);
        draw_boxes(1);
        if (options_.clear_late) {
            context_->ClearDepthStencilView(depth_.get(), both, clear_depth, 0);
        }
        finish_picture();
    }

    void draw_full(ID3D11PixelShader* shader) {
        context_->IASetInputLayout(nullptr);
        context_->VSSetShader(full_vs_.get(), nullptr, 0);
        context_->PSSetShader(shader, nullptr, 0);
        context_->Draw(3, 0);
    }

    void finish_picture() {
        ID3D11RenderTargetView* const back = back_.get();
        ID3D11ShaderResourceView* const picture = picture_.get();
        context_->OMSetRenderTargets(1, &back, nullptr);
        context_->OMSetDepthStencilState(no_depth_.get(), 0);
        context_->PSSetShaderResources(0, 1, &picture);
        const auto width = static_cast<float>(options_.width);
        const auto height = static_cast<float>(options_.height);
        set_viewport(0, 0, width, height);
        draw_full(copy_ps_.get());
        set_viewport(0, height - 8, 8, 8);
        draw_full(stamp_ps_.get());
        if (options_.hud) {
            context_->OMSetBlendState(blend_.get(), nullptr, ~0U);
            set_viewport(width - 120, height - 60, 100, 40);
            draw_full(hud_ps_.get());
            set_viewport(width - 120, 20, 60, 20);
            draw_full(hud_ps_.get());
        }
    }

    Options options_;
    Host host_;
    HWND window_ = nullptr;
    unsigned render_width_ = 0;
    unsigned render_height_ = 0;
    Com<IDXGISwapChain> chain_;
    Com<ID3D11Device> device_;
    Com<ID3D11DeviceContext> context_;
    Com<ID3D11VertexShader> scene_vs_;
    Com<ID3D11VertexShader> full_vs_;
    Com<ID3D11PixelShader> scene_ps_;
    Com<ID3D11PixelShader> copy_ps_;
    Com<ID3D11PixelShader> stamp_ps_;
    Com<ID3D11PixelShader> hud_ps_;
    Com<ID3D11InputLayout> layout_;
    Com<ID3D11Buffer> vertices_;
    Com<ID3D11Buffer> constants_;
    Com<ID3D11RasterizerState> rasterizer_;
    Com<ID3D11DepthStencilState> depth_test_;
    Com<ID3D11DepthStencilState> no_depth_;
    Com<ID3D11BlendState> blend_;
    Com<ID3D11RenderTargetView> targets_[2];
    Com<ID3D11RenderTargetView> back_;
    Com<ID3D11ShaderResourceView> picture_;
    Com<ID3D11DepthStencilView> depth_;
    Com<ID3D11DepthStencilView> shadow_;
};

}  // namespace

int main(int argc, char** argv) {
    const Options options = read_options(argc, argv);
    Game(options).run();
}
