// See RealMasterCapture.h. This file: one frame of the player's view, from textures to the ring.
#include "RealMasterCapture.h"

#include "FXRenderingUtils.h"
#include "PostProcess/PostProcessMaterialInputs.h"
#include "RenderGraphBuilder.h"
#include "RenderGraphUtils.h"
#include "SceneTexturesConfig.h"
#include "SceneView.h"
#include "StencilShader.h"

IMPLEMENT_GLOBAL_SHADER(
	FRealMasterStencilCS, "/Plugin/RealMasterCapture/Private/RealMasterStencil.usf", "MainCS", SF_Compute);

namespace
{

// A copy that takes longer than this many frames is given up.
constexpr uint64 MaxReadbackAge = 16;

realmaster::unreal::Matrix MatrixOf(const FMatrix& From)
{
	realmaster::unreal::Matrix To;
	for (int32 Row = 0; Row < 4; ++Row)
	{
		for (int32 Column = 0; Column < 4; ++Column)
		{
			To.m[static_cast<size_t>(Row)][static_cast<size_t>(Column)] = From.M[Row][Column];
		}
	}
	return To;
}

realmaster::Size SizeOf(const FIntPoint& Point)
{
	return {static_cast<uint32>(FMath::Max(Point.X, 1)), static_cast<uint32>(FMath::Max(Point.Y, 1))};
}

uint64 Packed(const realmaster::Size& Size)
{
	return static_cast<uint64>(Size.width) << 32 | Size.height;
}

bool Covers(FRDGTextureRef Texture, const FIntRect& Part)
{
	return Texture != nullptr && Texture->Desc.Extent.X >= Part.Max.X && Texture->Desc.Extent.Y >= Part.Max.Y;
}

// The part of a texture, drawn into one of a format that we can read.
void EnqueueCopy(
	FRDGBuilder& GraphBuilder, const FGlobalShaderMap* ShaderMap, FRDGTextureRef Texture,
	const FIntRect& Part, EPixelFormat Format, FRHIGPUTextureReadback* Readback)
{
	const FRDGTextureDesc Desc = FRDGTextureDesc::Create2D(
		Part.Size(), Format, FClearValueBinding::None,
		ETextureCreateFlags::RenderTargetable | ETextureCreateFlags::ShaderResource);
	FRDGTextureRef Copy = GraphBuilder.CreateTexture(Desc, TEXT("RealMaster.Copy"));
	FRDGDrawTextureInfo Info;
	Info.Size = Part.Size();
	Info.SourcePosition = Part.Min;
	AddDrawTexturePass(GraphBuilder, ShaderMap, Texture, Copy, Info);
	AddEnqueueCopyPass(GraphBuilder, Readback, Copy);
}

void EnqueueStencil(
	FRDGBuilder& GraphBuilder, FGlobalShaderMap* ShaderMap, FRDGTextureSRVRef Stencil,
	const FIntRect& Part, FRHIGPUTextureReadback* Readback)
{
	const FRDGTextureDesc Desc = FRDGTextureDesc::Create2D(
		Part.Size(), PF_R8_UINT, FClearValueBinding::None,
		ETextureCreateFlags::UAV | ETextureCreateFlags::ShaderResource);
	FRDGTextureRef Copy = GraphBuilder.CreateTexture(Desc, TEXT("RealMaster.Stencil"));
	const realmaster::Size Origin = {static_cast<uint32>(Part.Min.X), static_cast<uint32>(Part.Min.Y)};
	const realmaster::Size Size = SizeOf(Part.Size());
	auto* Parameters = GraphBuilder.AllocParameters<FRealMasterStencilCS::FParameters>();
	Parameters->Stencil = Stencil;
	Parameters->Output = GraphBuilder.CreateUAV(Copy);
	Parameters->Origin = FUintVector2(Origin.width, Origin.height);
	Parameters->Size = FUintVector2(Size.width, Size.height);
	const TShaderMapRef<FRealMasterStencilCS> Shader(ShaderMap);
	FComputeShaderUtils::AddPass(
		GraphBuilder, RDG_EVENT_NAME("RealMaster.Stencil"), Shader, Parameters,
		FComputeShaderUtils::GetGroupCount(Part.Size(), FIntPoint(8, 8)));
	AddEnqueueCopyPass(GraphBuilder, Readback, Copy);
}

}  // namespace

bool FRealMasterCapture::FSizes::operator==(const FSizes& Other) const
{
	return Packed(Render) == Packed(Other.Render) && Packed(Output) == Packed(Other.Output);
}

bool FRealMasterCapture::FSizes::FitsInto(const FSizes& Declared) const
{
	const auto Area = [](const realmaster::Size& Size) { return uint64{Size.width} * Size.height; };
	// The core's slots hold twice the area that the streams declare.
	return Area(Render) <= 2 * Area(Declared.Render) && Area(Output) <= 2 * Area(Declared.Output);
}

FRealMasterCapture::FRealMasterCapture(const FRealMasterOptions& InOptions)
	: Options(InOptions)
	, Ring(InOptions.ReadbackFrames, MaxReadbackAge)
	, Entries(static_cast<size_t>(Ring.num_entries()))
{
}

FRealMasterCapture::~FRealMasterCapture()
{
	check(Ring.is_idle());  // Drain_RenderThread came before
}

void FRealMasterCapture::Capture_RenderThread(
	FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs)
{
	Poll(GraphBuilder.RHICmdList, Options.Link.lockstep);
	const FScreenPassTexture SceneColor = FScreenPassTexture::CopyFromSlice(
		GraphBuilder, Inputs.GetInput(EPostProcessMaterialInput::SceneColor));
	if (!SceneColor.IsValid())
	{
		return;
	}
	FSizes Sizes;
	Sizes.Render = SizeOf(UE::FXRenderingUtils::GetRawViewRectUnsafe(View).Size());
	Sizes.Output = SizeOf(SceneColor.ViewRect.Size());
	SeenRender.store(Packed(Sizes.Render));
	SeenOutput.store(Packed(Sizes.Output));

	const FView Now = ViewOf(View, Sizes);
	const bool bHasHistory =
		bHasLast && !View.bCameraCut && Now.Frame == Last.Frame + 1 && Now.Sizes == Last.Sizes;
	const FView Before = bHasHistory ? Last : Now;
	Last = Now;
	bHasLast = true;
	if (!RenderLink)
	{
		return;
	}
	realmaster::FrameInfo Info = InfoOf(View, Now, bHasHistory);
	Info.camera.world_from_camera_prev = Before.Pose;
	realmaster::Slot* Slot = RenderLink->begin(Info);
	if (Slot == nullptr)
	{
		return;  // counted by the core
	}
	const int32 Index = Ring.acquire(Now.Frame);
	if (Index < 0)
	{
		RenderLink->drop(Slot, realmaster::Cause::readback_late);
		return;
	}
	FEntry& Entry = Entries[static_cast<size_t>(Index)];
	Entry.Link = RenderLink;
	Entry.Slot = Slot;
	Entry.Now = Now;
	Entry.Before = Before;
	Entry.bHasHistory = bHasHistory;
	if (!Enqueue(GraphBuilder, View, SceneColor, Inputs, Entry))
	{
		RenderLink->drop(Slot, realmaster::Cause::encode);
		Release(Index);
	}
}

FRealMasterCapture::FView FRealMasterCapture::ViewOf(const FSceneView& View, const FSizes& Sizes) const
{
	FView Now;
	Now.Frame = GFrameCounterRenderThread;
	Now.Sizes = Sizes;
	Now.Projection = realmaster::unreal::Projection::of(MatrixOf(View.ViewMatrices.GetProjectionNoAAMatrix()));
	const double Width = Sizes.Render.width, Height = Sizes.Render.height;
	Now.K = Now.Projection.intrinsics(Width, Height);
	Now.Pose = realmaster::unreal::world_from_camera(MatrixOf(View.ViewMatrices.GetInvViewMatrix()));
	const auto Jittered = realmaster::unreal::Projection::of(MatrixOf(View.ViewMatrices.GetProjectionMatrix()));
	Now.Jitter = realmaster::unreal::jitter_px(Jittered, Now.Projection, Width, Height);
	return Now;
}

realmaster::FrameInfo FRealMasterCapture::InfoOf(
	const FSceneView& View, const FView& Now, bool bHasHistory)
{
	realmaster::FrameInfo Info;
	Info.frame_id = Now.Frame;
	Info.t_sim_ns = static_cast<int64>(View.Family->Time.GetWorldTimeSeconds() * 1e9);
	if (Options.Link.lockstep)
	{
		Info.t_sim_ns = static_cast<int64>(NumFrames) * Options.Link.dt_sim_ns;
	}
	++NumFrames;
	LastSimNs.store(Info.t_sim_ns);
	Info.render_size = Now.Sizes.Render;
	Info.output_size = Now.Sizes.Output;
	Info.has_camera = true;
	Info.camera.K = Now.K;
	Info.camera.world_from_camera = Now.Pose;
	Info.camera.near_m = Now.Projection.near_m();
	Info.camera.far_m = Now.Projection.far_m();
	Info.camera.reversed_z = true;
	Info.jitter_px = Now.Jitter;
	Info.flags = bHasHistory ? realmaster::frame_flags::none : realmaster::frame_flags::cut;
	if (View.Family->bWorldIsPaused)
	{
		Info.flags |= realmaster::frame_flags::paused;
	}
	return Info;
}

bool FRealMasterCapture::Enqueue(
	FRDGBuilder& GraphBuilder, const FSceneView& View, const FScreenPassTexture& SceneColor,
	const FPostProcessMaterialInputs& Inputs, FEntry& Entry)
{
	if (!Inputs.SceneTextures.SceneTextures)
	{
		Missing.store(TEXT("SceneTextures (the mobile renderer?)"));
		return false;
	}
	const FSceneTextureUniformParameters* Scene = Inputs.SceneTextures.SceneTextures->GetContents();
	const FIntRect Part = UE::FXRenderingUtils::GetRawViewRectUnsafe(View);
	FGlobalShaderMap* ShaderMap = GetGlobalShaderMap(View.GetFeatureLevel());
	Entry.bUsed.fill(false);
	EnqueueCopy(
		GraphBuilder, ShaderMap, SceneColor.Texture, SceneColor.ViewRect, PF_R8G8B8A8, Use(Entry, Color));
	const std::array<FRDGTextureRef, NumBuffers> Textures = {
		nullptr, Scene->SceneDepthTexture, Scene->GBufferATexture, Scene->GBufferVelocityTexture, nullptr};
	Missing.store(nullptr);
	for (const EBuffer Buffer : {Depth, Normal, Velocity})
	{
		if (!Needs(Buffer))
		{
			continue;
		}
		// What a frame did not draw is a small black texture. Velocity may be: nothing moved then.
		if (!Covers(Textures[Buffer], Part))
		{
			if (Buffer != Velocity)
			{
				Missing.store(Buffer == Depth ? TEXT("SceneDepth") : TEXT("GBufferA"));
				return false;
			}
			continue;
		}
		const EPixelFormat Format = Buffer == Depth ? PF_R32_FLOAT : PF_A16B16G16R16;
		EnqueueCopy(GraphBuilder, ShaderMap, Textures[Buffer], Part, Format, Use(Entry, Buffer));
	}
	FRDGTextureSRVRef Stencils = Scene->CustomStencilTexture;
	if (Needs(Stencil) && Stencils != nullptr && Covers(Stencils->Desc.Texture, Part))
	{
		EnqueueStencil(GraphBuilder, ShaderMap, Stencils, Part, Use(Entry, Stencil));
	}
	return true;
}

FRHIGPUTextureReadback* FRealMasterCapture::Use(FEntry& Entry, EBuffer Buffer)
{
	TUniquePtr<FRHIGPUTextureReadback>& Readback = Entry.Readbacks[Buffer];
	if (!Readback.IsValid())
	{
		Readback = MakeUnique<FRHIGPUTextureReadback>(TEXT("RealMaster.Readback"));
	}
	Entry.bUsed[Buffer] = true;
	return Readback.Get();
}

bool FRealMasterCapture::Needs(EBuffer Buffer) const
{
	switch (Buffer)
	{
	case Color:
		return true;
	case Depth:
		return Options.bDepth || Options.bNormal || Options.bMotion;
	case Normal:
		return Options.bNormal;
	case Velocity:
		return Options.bMotion;
	case Stencil:
		return Options.bInstance;
	case NumBuffers:
		break;
	}
	return false;
}
