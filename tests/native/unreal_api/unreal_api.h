// The part of Unreal's API that RealMasterCapture uses, and nothing else of it: declarations of our
// own, written from its public documentation, so that the plugin's sources can be compile-checked
// where there is no engine. It says what the plugin relies on; only the engine can prove that it is
// so. test_unreal_plugin.py makes each engine header that the plugin includes an include of this.
// Names in snake_case are not Unreal's: unreal_fake.cpp defines them to run the plugin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#define ENGINE_MAJOR_VERSION 5
#ifndef ENGINE_MINOR_VERSION
#error "say which version: -DENGINE_MINOR_VERSION=4"
#endif

// --- Core ------------------------------------------------------------------------------------------

using int32 = std::int32_t;
using int64 = long long;
using uint8 = std::uint8_t;
using uint16 = std::uint16_t;
using uint32 = std::uint32_t;
using uint64 = unsigned long long;
using TCHAR = char16_t;

#define TEXT(x) u##x
#define check(expression) ((void)sizeof((expression) ? 1 : 0))
#define REALMASTERCAPTURE_API
#define UE_SOURCE_LOCATION ""
#define UCLASS(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define GENERATED_BODY()
#define DEFINE_LOG_CATEGORY_STATIC(Name, Default, Compiled) struct Name {}
#define UE_LOG(Category, Verbosity, Format, ...) (log_line(Category(), Format, __VA_ARGS__))
#define IMPLEMENT_MODULE(Class, Name) IModuleInterface* make_##Name() { return new Class(); }

template <class Category, class... Values>
void log_line(Category, const TCHAR*, Values...) {}

class FString {
public:
    FString() = default;
    FString(const TCHAR* text) : text_(text) {}
    template <class... Values>
    static FString Printf(const TCHAR* format, Values...) { return format; }
    const TCHAR* operator*() const { return text_.c_str(); }
    FString& operator+=(const FString& other) { text_ += other.text_; return *this; }
    friend FString operator+(FString a, const FString& b) { return a += b; }
    friend bool operator==(const FString& a, const TCHAR* b) { return a.text_ == b; }

private:
    std::u16string text_;
};

const char* TCHAR_TO_UTF8(const TCHAR*);
const TCHAR* UTF8_TO_TCHAR(const char*);

class FName {
public:
    explicit FName(const TCHAR*) {}
};

struct FMath {
    template <class T>
    static T Clamp(T value, T low, T high) { return value < low ? low : high < value ? high : value; }
    template <class T>
    static T Max(T a, T b) { return a < b ? b : a; }
};

struct FMatrix {
    double M[4][4];
};

struct FIntPoint {
    int32 X = 0, Y = 0;
    FIntPoint() = default;
    FIntPoint(int32 x, int32 y) : X(x), Y(y) {}
};

struct FIntRect {
    FIntPoint Min, Max;
    FIntPoint Size() const { return {Max.X - Min.X, Max.Y - Min.Y}; }
};

struct FIntVector {};

struct FUintVector2 {
    uint32 X = 0, Y = 0;
    FUintVector2() = default;
    FUintVector2(uint32 x, uint32 y) : X(x), Y(y) {}
};

enum class ESPMode { NotThreadSafe, ThreadSafe };

template <class T, ESPMode = ESPMode::ThreadSafe>
class TSharedRef {
public:
    explicit TSharedRef(std::shared_ptr<T> held) : held_(std::move(held)) {}
    T* operator->() const { return held_.get(); }
    const std::shared_ptr<T>& held() const { return held_; }

private:
    std::shared_ptr<T> held_;
};

template <class T, ESPMode Mode = ESPMode::ThreadSafe>
class TSharedPtr {
public:
    TSharedPtr() = default;
    explicit TSharedPtr(std::shared_ptr<T> held) : held_(std::move(held)) {}
    TSharedPtr(const TSharedRef<T, Mode>& given) : held_(given.held()) {}
    T* operator->() const { return held_.get(); }
    explicit operator bool() const { return held_ != nullptr; }
    bool IsValid() const { return held_ != nullptr; }
    void Reset() { held_.reset(); }
    TSharedRef<T, Mode> ToSharedRef() const { return TSharedRef<T, Mode>(held_); }

private:
    std::shared_ptr<T> held_;
};

template <class T, ESPMode Mode, class... Values>
TSharedRef<T, Mode> MakeShared(Values&&... values) {
    return TSharedRef<T, Mode>(std::make_shared<T>(std::forward<Values>(values)...));
}

template <class T>
class TUniquePtr {
public:
    TUniquePtr() = default;
    explicit TUniquePtr(T* held) : held_(held) {}
    bool IsValid() const { return held_ != nullptr; }
    T* Get() const { return held_.get(); }
    T* operator->() const { return held_.get(); }
    void Reset() { held_.reset(); }

private:
    std::unique_ptr<T> held_;
};

template <class T, class... Values>
TUniquePtr<T> MakeUnique(Values&&... values) {
    return TUniquePtr<T>(new T(std::forward<Values>(values)...));
}

template <class T>
class TArray {
public:
    int32 Num() const { return static_cast<int32>(items_.size()); }
    const T& operator[](int32 index) const { return items_[static_cast<std::size_t>(index)]; }
    void Add(T item) { items_.push_back(std::move(item)); }

private:
    std::vector<T> items_;
};

struct FPlatformProcess {
    static void YieldThread();
};

extern uint64 GFrameCounterRenderThread;

struct FApp {
    static const TCHAR* GetProjectName();
    static bool UseFixedTimeStep();
    static void SetUseFixedTimeStep(bool);
    static double GetFixedDeltaTime();
    static void SetFixedDeltaTime(double);
};

struct FEngineVersion {
    static const FEngineVersion& Current();
    FString ToString() const;
};

struct FPaths {
    static FString Combine(const FString&, const TCHAR*);
};

class FDelegateHandle {};

class FSimpleMulticastDelegate {
public:
    template <class Object>
    FDelegateHandle AddUObject(Object* object, void (Object::*method)()) {
        bound = [object, method]() { (object->*method)(); };
        return {};
    }
    bool Remove(FDelegateHandle) { bound = nullptr; return true; }
    std::function<void()> bound;
};

struct FCoreDelegates {
    static FSimpleMulticastDelegate OnBeginFrame;
};

class FTickerDelegate {
public:
    template <class Object>
    static FTickerDelegate CreateUObject(Object* object, bool (Object::*method)(float)) {
        FTickerDelegate made;
        made.bound = [object, method](float seconds) { return (object->*method)(seconds); };
        return made;
    }
    std::function<bool(float)> bound;
};

class FTSTicker {
public:
    class FDelegateHandle {};
    static FTSTicker& GetCoreTicker();
    FDelegateHandle AddTicker(const FTickerDelegate&, float);
    static void RemoveTicker(FDelegateHandle);
};

class FConsoleCommandDelegate {
public:
    template <class Function>
    static FConsoleCommandDelegate CreateLambda(Function) { return {}; }
};

class FAutoConsoleCommand {
public:
    FAutoConsoleCommand(const TCHAR*, const TCHAR*, const FConsoleCommandDelegate&);
};

void launch_task(std::function<void()>);
namespace UE::Tasks {
template <class Function>
void Launch(const char*, Function&& function) {
    // std::function wants to copy, a task need not be copyable.
    auto held = std::make_shared<std::decay_t<Function>>(std::forward<Function>(function));
    launch_task([held]() { (*held)(); });
}
}  // namespace UE::Tasks

class IModuleInterface {
public:
    virtual ~IModuleInterface() = default;
    virtual void StartupModule() {}
};

class IPlugin {
public:
    FString GetBaseDir() const;
};

class IPluginManager {
public:
    static IPluginManager& Get();
    TSharedPtr<IPlugin> FindPlugin(const FString&);
};

void AddShaderSourceDirectoryMapping(const FString&, const FString&);

// --- CoreUObject, Engine ----------------------------------------------------------------------------

class FSubsystemCollectionBase {};

class UEngineSubsystem {
public:
    using Super = UEngineSubsystem;
    virtual ~UEngineSubsystem() = default;
    virtual void Initialize(FSubsystemCollectionBase&) {}
    virtual void Deinitialize() {}
};

class UDeveloperSettings {
public:
    virtual ~UDeveloperSettings() = default;
    virtual FName GetCategoryName() const { return FName(u""); }
};

class UBlueprintFunctionLibrary {};

template <class T>
const T* GetDefault();

class FViewport {};

class UGameViewportClient {
public:
    FViewport* Viewport = nullptr;
};

class UEngine {
public:
    UGameViewportClient* GameViewport = nullptr;
    template <class T>
    T* GetEngineSubsystem() { return nullptr; }
};

extern UEngine* GEngine;

// --- RHI, RenderCore --------------------------------------------------------------------------------

class FRHICommandListImmediate {
public:
    void BlockUntilGPUIdle();
};

FRHICommandListImmediate& render_commands();
template <class Function>
void enqueue_render_command(Function&& function) {
    std::forward<Function>(function)(render_commands());
}
struct RenderCommandSink {
    template <class Function>
    void operator()(Function&& function) const { enqueue_render_command(std::forward<Function>(function)); }
};
#define ENQUEUE_RENDER_COMMAND(Name) RenderCommandSink()
void FlushRenderingCommands();

enum EPixelFormat { PF_R8G8B8A8, PF_R32_FLOAT, PF_A16B16G16R16, PF_R8_UINT };
enum class ETextureCreateFlags : uint32 { RenderTargetable = 1, ShaderResource = 2, UAV = 4 };
constexpr ETextureCreateFlags operator|(ETextureCreateFlags a, ETextureCreateFlags b) {
    return static_cast<ETextureCreateFlags>(static_cast<uint32>(a) | static_cast<uint32>(b));
}

struct FClearValueBinding {
    static const FClearValueBinding None;
};

struct FRDGTextureDesc {
    FIntPoint Extent;
    static FRDGTextureDesc Create2D(FIntPoint, EPixelFormat, FClearValueBinding, ETextureCreateFlags);
};

struct FRDGTexture {
    FRDGTextureDesc Desc;
};
using FRDGTextureRef = FRDGTexture*;

struct FRDGTextureSRVDesc {
    FRDGTextureRef Texture = nullptr;
};
struct FRDGTextureSRV {
    FRDGTextureSRVDesc Desc;
};
using FRDGTextureSRVRef = FRDGTextureSRV*;
using FRDGTextureUAVRef = struct FRDGTextureUAV*;

class FRDGBuilder {
public:
    FRHICommandListImmediate& RHICmdList;
    FRDGTextureRef CreateTexture(const FRDGTextureDesc&, const TCHAR*);
    FRDGTextureUAVRef CreateUAV(FRDGTextureRef);
    template <class Parameters>
    Parameters* AllocParameters() {
        static Parameters made;
        return &made;
    }
};

class FRHIGPUTextureReadback {
public:
    explicit FRHIGPUTextureReadback(const TCHAR* name);
    ~FRHIGPUTextureReadback();
    bool IsReady();
    void* Lock(int32& out_row_pitch_in_pixels, int32* out_buffer_height = nullptr);
    void Unlock();
};

struct FRDGDrawTextureInfo {
    FIntPoint Size, SourcePosition, DestPosition;
};

class FGlobalShaderMap {};
enum class ERHIFeatureLevel { SM5 };
FGlobalShaderMap* GetGlobalShaderMap(ERHIFeatureLevel);
bool IsFeatureLevelSupported(int platform, ERHIFeatureLevel);

void AddDrawTexturePass(FRDGBuilder&, const FGlobalShaderMap*, FRDGTextureRef, FRDGTextureRef,
                        const FRDGDrawTextureInfo&);
void AddEnqueueCopyPass(FRDGBuilder&, FRHIGPUTextureReadback*, FRDGTextureRef);

class FGlobalShader {};
struct FGlobalShaderPermutationParameters {
    int Platform;
};
template <class Shader>
class TShaderMapRef {
public:
    explicit TShaderMapRef(const FGlobalShaderMap*) {}
};

#define DECLARE_GLOBAL_SHADER(Name)
#define SHADER_USE_PARAMETER_STRUCT(Name, Base)
#define BEGIN_SHADER_PARAMETER_STRUCT(Name, Api) struct Name {
#define SHADER_PARAMETER_RDG_TEXTURE_SRV(Type, Name) FRDGTextureSRVRef Name = nullptr;
#define SHADER_PARAMETER_RDG_TEXTURE_UAV(Type, Name) FRDGTextureUAVRef Name = nullptr;
#define SHADER_PARAMETER(Type, Name) Type Name;
#define END_SHADER_PARAMETER_STRUCT() };
#define IMPLEMENT_GLOBAL_SHADER(Class, File, Entry, Kind) \
    static_assert(sizeof(Class) > 0 && sizeof(File Entry) > 0)
#define RDG_EVENT_NAME(Format) (Format)

void run_compute(const void* parameters);
struct FComputeShaderUtils {
    static FIntVector GetGroupCount(FIntPoint, FIntPoint);
    template <class Shader, class Parameters>
    static void AddPass(FRDGBuilder&, const char*, const TShaderMapRef<Shader>&, Parameters* parameters,
                        FIntVector) {
        run_compute(parameters);
    }
};

// --- Renderer -------------------------------------------------------------------------------------

struct FSceneTextureUniformParameters {
    FRDGTextureRef SceneDepthTexture, GBufferATexture, GBufferVelocityTexture;
    FRDGTextureSRVRef CustomStencilTexture;
};

template <class Parameters>
class TRDGUniformBufferRef {
public:
    TRDGUniformBufferRef() = default;
    explicit TRDGUniformBufferRef(Parameters* held) : held_(held) {}
    explicit operator bool() const { return held_ != nullptr; }
    const TRDGUniformBufferRef* operator->() const { return this; }
    const Parameters* GetContents() const { return held_; }

private:
    Parameters* held_ = nullptr;
};

struct FSceneTextureShaderParameters {
    TRDGUniformBufferRef<FSceneTextureUniformParameters> SceneTextures;
};

struct FScreenPassTextureSlice {
    FRDGTextureRef TextureSRV = nullptr;
    FIntRect ViewRect;
};
struct FScreenPassTexture {
    FRDGTextureRef Texture = nullptr;
    FIntRect ViewRect;
    bool IsValid() const { return Texture != nullptr; }
    static FScreenPassTexture CopyFromSlice(FRDGBuilder&, const FScreenPassTextureSlice& slice) {
        return {slice.TextureSRV, slice.ViewRect};
    }
};

enum class EPostProcessMaterialInput { SceneColor };
struct FPostProcessMaterialInputs {
    FSceneTextureShaderParameters SceneTextures;
    FScreenPassTextureSlice scene_color;
    FScreenPassTextureSlice GetInput(EPostProcessMaterialInput) const { return scene_color; }
    FScreenPassTexture ReturnUntouchedSceneColorForPostProcessing(FRDGBuilder&) const;
};

class FViewMatrices {
public:
    const FMatrix& GetProjectionMatrix() const { return projection; }
    const FMatrix& GetProjectionNoAAMatrix() const { return projection_no_aa; }
    const FMatrix& GetInvViewMatrix() const { return inverse_view; }
    FMatrix projection{}, projection_no_aa{}, inverse_view{};
};

struct FGameTime {
    double GetWorldTimeSeconds() const { return world_time_s; }
    double world_time_s = 0;
};

class FSceneView;
class FSceneViewFamily {
public:
    TArray<const FSceneView*> Views;
    FGameTime Time;
    bool bWorldIsPaused = false;
};

class FSceneView {
public:
    const FSceneViewFamily* Family = nullptr;
    FViewMatrices ViewMatrices;
    bool bIsGameView = false;
    bool bIsSceneCapture = false;
    bool bCameraCut = false;
    ERHIFeatureLevel GetFeatureLevel() const { return ERHIFeatureLevel::SM5; }
    FIntRect raw_view_rect;
};

namespace UE::FXRenderingUtils {
FIntRect GetRawViewRectUnsafe(const FSceneView&);
}  // namespace UE::FXRenderingUtils

class FAfterPassCallbackDelegate {
public:
    template <class Object>
    static FAfterPassCallbackDelegate CreateSP(
        Object* object,
        FScreenPassTexture (Object::*method)(FRDGBuilder&, const FSceneView&, const FPostProcessMaterialInputs&)) {
        FAfterPassCallbackDelegate made;
        made.bound = [object, method](FRDGBuilder& builder, const FSceneView& view,
                                      const FPostProcessMaterialInputs& inputs) {
            return (object->*method)(builder, view, inputs);
        };
        return made;
    }
    std::function<FScreenPassTexture(FRDGBuilder&, const FSceneView&, const FPostProcessMaterialInputs&)> bound;
};
using FAfterPassCallbackDelegateArray = TArray<FAfterPassCallbackDelegate>;

class FAutoRegister {};
struct FSceneViewExtensionContext {
    FViewport* Viewport = nullptr;
};

class FSceneViewExtensionBase {
public:
    enum class EPostProcessingPass { MotionBlur, Tonemap, FXAA };

    explicit FSceneViewExtensionBase(const FAutoRegister&) {}
    virtual ~FSceneViewExtensionBase() = default;
    virtual void SetupViewFamily(FSceneViewFamily&) = 0;
    virtual void SetupView(FSceneViewFamily&, FSceneView&) = 0;
    virtual void BeginRenderViewFamily(FSceneViewFamily&) = 0;
#if ENGINE_MINOR_VERSION >= 5
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass, const FSceneView&,
                                               FAfterPassCallbackDelegateArray&, bool) {}
#else
    virtual void SubscribeToPostProcessingPass(EPostProcessingPass, FAfterPassCallbackDelegateArray&, bool) {}
#endif

    bool IsActiveThisFrame(const FSceneViewExtensionContext& context) const {
        return IsActiveThisFrame_Internal(context);
    }

protected:
    virtual bool IsActiveThisFrame_Internal(const FSceneViewExtensionContext&) const { return true; }
};

void register_extension(std::weak_ptr<FSceneViewExtensionBase>);
struct FSceneViewExtensions {
    template <class Extension, class... Values>
    static TSharedRef<Extension, ESPMode::ThreadSafe> NewExtension(Values&&... values) {
        auto made = std::make_shared<Extension>(FAutoRegister(), std::forward<Values>(values)...);
        register_extension(made);
        return TSharedRef<Extension, ESPMode::ThreadSafe>(std::move(made));
    }
};
