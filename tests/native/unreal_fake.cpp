// Runs the Unreal plugin's own sources in a make-believe engine: textures are memory, a copy is
// ready two frames later, rows lie further apart than they are wide, tasks run on threads. Plays
// the scene of a file frame by frame, as a game would. See test_unreal_plugin.py.
//
// usage: unreal_fake SCENE PORT realtime|lockstep|pieces|resize|late
// pieces: nothing was drawn into velocity and custom stencil, which are small black textures.
// resize: the scene again, its upper left part alone. late: two copies never become ready.
// SCENE: int32 width, height, frames; per frame the doubles of projection, projection without
// jitter, inverse view (16 each), world seconds; then color u8x4, device depth f32, G-buffer A
// u16x4, velocity u16x4, custom stencil u8.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "RealMasterSettings.h"
#include "RealMasterSubsystem.h"
#include "RealMasterViewExtension.h"
#include "StencilShader.h"
#include "unreal_api.h"

namespace {

constexpr int32 margin = 5;         // the view does not begin at its textures' corner
constexpr int32 padding = 7;        // pixels between the end of a row and the next
constexpr uint64 gpu_frames = 2;    // until a copy is ready
constexpr std::uint8_t dirt = 0xAB; // what lies beyond a row

struct Texture : FRDGTexture {
    std::size_t pixel_bytes = 0;
    std::vector<std::uint8_t> pixels;
};

struct Copy {
    std::size_t pixel_bytes = 0;
    int32 row_pixels = 0;
    uint64 ready_frame = 0;
    bool locked = false;
    std::vector<std::uint8_t> rows;
};

std::map<const FRHIGPUTextureReadback*, Copy> copies;
std::vector<std::unique_ptr<Texture>> textures;
std::vector<std::thread> tasks;
std::weak_ptr<FSceneViewExtensionBase> extension;
FRHICommandListImmediate commands;
FTickerDelegate ticker;
URealMasterSettings settings;
bool gpu_hangs = false;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "unreal_fake: %s\n", what);
    std::exit(2);
}

std::size_t bytes_of_format(EPixelFormat format) {
    return format == PF_A16B16G16R16 ? 8 : format == PF_R8_UINT ? 1 : 4;
}

Texture* make_texture(FIntPoint extent, std::size_t pixel_bytes) {
    auto made = std::make_unique<Texture>();
    made->Desc.Extent = extent;
    made->pixel_bytes = pixel_bytes;
    made->pixels.assign(static_cast<std::size_t>(extent.X) * static_cast<std::size_t>(extent.Y) * pixel_bytes, dirt);
    textures.push_back(std::move(made));
    return textures.back().get();
}

std::uint8_t* pixel(Texture* texture, int32 x, int32 y) {
    const auto at = static_cast<std::size_t>(y) * static_cast<std::size_t>(texture->Desc.Extent.X) + static_cast<std::size_t>(x);
    return texture->pixels.data() + at * texture->pixel_bytes;
}

void copy_part(Texture* from, FIntPoint origin, Texture* to) {
    if (from->pixel_bytes != to->pixel_bytes) fail("a copy changes the size of pixels");
    for (int32 y = 0; y < to->Desc.Extent.Y; ++y) {
        std::memcpy(pixel(to, 0, y), pixel(from, origin.X, origin.Y + y),
                    static_cast<std::size_t>(to->Desc.Extent.X) * to->pixel_bytes);
    }
}

// A scene texture: larger than the view, which lies in it at (margin, margin).
Texture* scene_texture(std::FILE* file, int32 width, int32 height, std::size_t pixel_bytes) {
    Texture* made = make_texture({width + 2 * margin, height + 2 * margin}, pixel_bytes);
    for (int32 y = 0; y < height; ++y) {
        const auto count = static_cast<std::size_t>(width) * pixel_bytes;
        if (std::fread(pixel(made, margin, margin + y), 1, count, file) != count) fail("the scene is too short");
    }
    return made;
}

template <class Value>
Value read(std::FILE* file) {
    Value value;
    if (std::fread(&value, sizeof(value), 1, file) != 1) fail("the scene is too short");
    return value;
}

void broadcast_begin_frame() {
    if (FCoreDelegates::OnBeginFrame.bound) FCoreDelegates::OnBeginFrame.bound();
}

// One frame as the engine draws it: game thread, then the render thread's passes.
void play_frame(std::FILE* file, int32 width, int32 height, bool is_first, bool in_pieces,
                FIntPoint crop = {}) {
    ++GFrameCounterRenderThread;
    broadcast_begin_frame();
    FSceneViewFamily family;
    FSceneView view;
    view.Family = &family;
    view.ViewMatrices.projection = read<FMatrix>(file);
    view.ViewMatrices.projection_no_aa = read<FMatrix>(file);
    view.ViewMatrices.inverse_view = read<FMatrix>(file);
    family.Time.world_time_s = read<double>(file);
    family.Views.Add(&view);
    view.bIsGameView = true;
    view.bCameraCut = is_first;
    view.raw_view_rect = {{margin, margin}, {margin + width - crop.X, margin + height - crop.Y}};

    Texture* color = scene_texture(file, width, height, 4);
    FSceneTextureUniformParameters scene{};
    scene.SceneDepthTexture = scene_texture(file, width, height, 4);
    scene.GBufferATexture = scene_texture(file, width, height, 8);
    scene.GBufferVelocityTexture = scene_texture(file, width, height, 8);
    FRDGTextureSRV stencil{{scene_texture(file, width, height, 1)}};
    if (in_pieces) {
        scene.GBufferVelocityTexture = make_texture({1, 1}, 8);
        stencil.Desc.Texture = make_texture({1, 1}, 1);
    }
    scene.CustomStencilTexture = &stencil;
    FPostProcessMaterialInputs inputs;
    inputs.SceneTextures.SceneTextures = TRDGUniformBufferRef<FSceneTextureUniformParameters>(&scene);
    inputs.scene_color = {color, view.raw_view_rect};

    FRDGBuilder builder{commands};
    FAfterPassCallbackDelegateArray callbacks;
    const auto held = extension.lock();
    if (!held || !held->IsActiveThisFrame({GEngine->GameViewport->Viewport})) fail("the extension is not active");
    FViewport other;
    if (held->IsActiveThisFrame({&other})) fail("the extension is active on another viewport");
    for (const auto pass : {FSceneViewExtensionBase::EPostProcessingPass::MotionBlur,
                            FSceneViewExtensionBase::EPostProcessingPass::Tonemap}) {
#if ENGINE_MINOR_VERSION >= 5
        held->SubscribeToPostProcessingPass(pass, view, callbacks, true);
#else
        held->SubscribeToPostProcessingPass(pass, callbacks, true);
#endif
    }
    if (callbacks.Num() != 1) fail("one callback is wanted, after tonemapping");
    callbacks[0].bound(builder, view, inputs);
    textures.clear();
    ticker.bound(0.0F);
}

}  // namespace

// --- what unreal_api.h declares -----------------------------------------------------------------------

uint64 GFrameCounterRenderThread = 0;
FSimpleMulticastDelegate FCoreDelegates::OnBeginFrame;
const FClearValueBinding FClearValueBinding::None;
UEngine* GEngine = nullptr;

const char* TCHAR_TO_UTF8(const TCHAR* text) {
    thread_local std::string made;
    made.clear();
    for (; *text != 0; ++text) made.push_back(static_cast<char>(*text));
    return made.c_str();
}

const TCHAR* UTF8_TO_TCHAR(const char* text) {
    thread_local std::u16string made;
    made.assign(text, text + std::strlen(text));
    return made.c_str();
}

const TCHAR* FApp::GetProjectName() { return u"FakeCity"; }
static bool fixed_time_step = false;
static double fixed_delta_s = 1.0 / 60;
bool FApp::UseFixedTimeStep() { return fixed_time_step; }
void FApp::SetUseFixedTimeStep(bool fixed) { fixed_time_step = fixed; }
double FApp::GetFixedDeltaTime() { return fixed_delta_s; }
void FApp::SetFixedDeltaTime(double seconds) { fixed_delta_s = seconds; }
const FEngineVersion& FEngineVersion::Current() {
    static const FEngineVersion made;
    return made;
}
FString FEngineVersion::ToString() const { return u"5.5.4-fake"; }
FTSTicker& FTSTicker::GetCoreTicker() {
    static FTSTicker made;
    return made;
}
FTSTicker::FDelegateHandle FTSTicker::AddTicker(const FTickerDelegate& given, float) {
    ticker = given;
    return {};
}
void FTSTicker::RemoveTicker(FDelegateHandle) { ticker = {}; }
FAutoConsoleCommand::FAutoConsoleCommand(const TCHAR*, const TCHAR*, const FConsoleCommandDelegate&) {}
void FPlatformProcess::YieldThread() { std::this_thread::yield(); }
void launch_task(std::function<void()> task) { tasks.emplace_back(std::move(task)); }
void FlushRenderingCommands() {}
FRHICommandListImmediate& render_commands() { return commands; }
void register_extension(std::weak_ptr<FSceneViewExtensionBase> made) { extension = std::move(made); }
FIntRect UE::FXRenderingUtils::GetRawViewRectUnsafe(const FSceneView& view) { return view.raw_view_rect; }
FScreenPassTexture FPostProcessMaterialInputs::ReturnUntouchedSceneColorForPostProcessing(FRDGBuilder&) const {
    return {scene_color.TextureSRV, scene_color.ViewRect};
}
template <>
const URealMasterSettings* GetDefault<URealMasterSettings>() { return &settings; }

static EPixelFormat format_of_next = PF_R8G8B8A8;
FRDGTextureDesc FRDGTextureDesc::Create2D(FIntPoint extent, EPixelFormat format, FClearValueBinding, ETextureCreateFlags) {
    format_of_next = format;
    return {extent};
}
FRDGTextureRef FRDGBuilder::CreateTexture(const FRDGTextureDesc& desc, const TCHAR*) {
    return make_texture(desc.Extent, bytes_of_format(format_of_next));
}
FRDGTextureUAVRef FRDGBuilder::CreateUAV(FRDGTextureRef texture) {
    return reinterpret_cast<FRDGTextureUAVRef>(texture);
}
FGlobalShaderMap* GetGlobalShaderMap(ERHIFeatureLevel) {
    static FGlobalShaderMap made;
    return &made;
}
bool IsFeatureLevelSupported(int, ERHIFeatureLevel) { return true; }
FIntVector FComputeShaderUtils::GetGroupCount(FIntPoint, FIntPoint) { return {}; }

void AddDrawTexturePass(FRDGBuilder&, const FGlobalShaderMap*, FRDGTextureRef from, FRDGTextureRef to,
                        const FRDGDrawTextureInfo& info) {
    if (info.Size.X != to->Desc.Extent.X || info.Size.Y != to->Desc.Extent.Y) fail("a copy of another size");
    copy_part(static_cast<Texture*>(from), info.SourcePosition, static_cast<Texture*>(to));
}

void run_compute(const void* given) {
    const auto& parameters = *static_cast<const FRealMasterStencilCS::FParameters*>(given);
    auto* to = static_cast<Texture*>(reinterpret_cast<FRDGTexture*>(parameters.Output));
    const FIntPoint origin(static_cast<int32>(parameters.Origin.X), static_cast<int32>(parameters.Origin.Y));
    copy_part(static_cast<Texture*>(parameters.Stencil->Desc.Texture), origin, to);
}

void AddEnqueueCopyPass(FRDGBuilder&, FRHIGPUTextureReadback* readback, FRDGTextureRef given) {
    auto* from = static_cast<Texture*>(given);
    Copy& copy = copies[readback];
    if (copy.locked) fail("a readback is used while it is locked");
    const auto width = static_cast<std::size_t>(from->Desc.Extent.X);
    copy.pixel_bytes = from->pixel_bytes;
    copy.row_pixels = from->Desc.Extent.X + padding;
    copy.ready_frame = gpu_hangs ? ~uint64{0} : GFrameCounterRenderThread + gpu_frames;
    const std::size_t pitch = static_cast<std::size_t>(copy.row_pixels) * copy.pixel_bytes;
    copy.rows.assign(pitch * static_cast<std::size_t>(from->Desc.Extent.Y), dirt);
    for (int32 y = 0; y < from->Desc.Extent.Y; ++y) {
        std::memcpy(copy.rows.data() + static_cast<std::size_t>(y) * pitch, pixel(from, 0, y), width * copy.pixel_bytes);
    }
}

FRHIGPUTextureReadback::FRHIGPUTextureReadback(const TCHAR*) { copies[this]; }
FRHIGPUTextureReadback::~FRHIGPUTextureReadback() { copies.erase(this); }
bool FRHIGPUTextureReadback::IsReady() { return GFrameCounterRenderThread >= copies[this].ready_frame; }
void* FRHIGPUTextureReadback::Lock(int32& row_pixels, int32*) {
    Copy& copy = copies[this];
    if (!IsReady() || copy.locked) fail("a readback is locked before it is ready, or twice");
    copy.locked = true;
    row_pixels = copy.row_pixels;
    return copy.rows.data();
}
void FRHIGPUTextureReadback::Unlock() {
    Copy& copy = copies[this];
    if (!copy.locked) fail("a readback is unlocked that was not locked");
    std::memset(copy.rows.data(), dirt, copy.rows.size());  // whoever reads on reads dirt
    copy.locked = false;
}
void FRHICommandListImmediate::BlockUntilGPUIdle() {
    for (auto& [readback, copy] : copies) copy.ready_frame = 0;
}

// --- the game -----------------------------------------------------------------------------------------

int main(int argc, char** argv) {
    if (argc != 4) fail("usage: unreal_fake SCENE PORT MODE");
    const std::string mode = argv[3];
    std::FILE* file = std::fopen(argv[1], "rb");
    if (file == nullptr) fail("the scene cannot be read");
    UEngine engine;
    UGameViewportClient client;
    FViewport viewport;
    client.Viewport = &viewport;
    engine.GameViewport = &client;
    GEngine = &engine;
    settings.Port = std::atoi(argv[2]);
    settings.bLockstep = mode == "lockstep" || mode == "pieces" || mode == "resize";
    settings.LockstepFps = 24.0F;

    const auto width = read<int32>(file), height = read<int32>(file), frames = read<int32>(file);
    const long start = std::ftell(file);
    URealMasterSubsystem subsystem;
    FSubsystemCollectionBase collection;
    subsystem.Initialize(collection);
    subsystem.Start();
    play_frame(file, width, height, true, false);  // tells the sizes; no link yet
    for (int waited = 0; !subsystem.IsConnected(); ++waited) {
        if (waited > 30000) fail("no client came");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ticker.bound(0.0F);
    }
    if (fixed_time_step != settings.bLockstep) fail("the time step is not as the mode says");
    std::fseek(file, start, SEEK_SET);
    for (int32 frame = 0; frame < frames; ++frame) {
        gpu_hangs = mode == "late" && (frame == 2 || frame == 3);
        play_frame(file, width, height, frame == 0, mode == "pieces");
        if (!settings.bLockstep) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::fseek(file, start, SEEK_SET);
    for (int32 frame = 0; mode == "resize" && frame < frames; ++frame) {
        play_frame(file, width, height, false, false, {16, 8});
    }
    subsystem.Mark(u"the end");
    subsystem.Stop();
    if (fixed_time_step || !extension.expired()) fail("something is left behind");
    subsystem.Deinitialize();
    for (std::thread& task : tasks) task.join();
    if (!copies.empty()) fail("a readback is left behind");
    std::fclose(file);
    return 0;
}
