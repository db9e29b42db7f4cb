// The render thread's side: copies one frame's textures into a ring of readbacks, and once the GPU
// has filled an entry, a task converts it straight from mapped memory into the core's slot.
// The render thread never waits but in lockstep. The maths is math/*.h's, the protocol the core's.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "CoreMinimal.h"
#include "RHIGPUReadback.h"
#include "math/convert.h"
#include "math/ring_state.h"
#include "realmaster/plugin.h"

class FRDGBuilder;
class FRHICommandListImmediate;
class FSceneView;
struct FPostProcessMaterialInputs;
struct FScreenPassTexture;

// What is captured and how. Link: everything of the core's settings but the streams.
struct FRealMasterOptions
{
	realmaster::Config Link;
	bool bDepth = true;
	bool bNormal = true;
	bool bMotion = true;
	bool bInstance = true;
	int32 ReadbackFrames = 4;
};

class FRealMasterCapture
{
public:
	explicit FRealMasterCapture(const FRealMasterOptions& InOptions);
	~FRealMasterCapture();

	// Render thread, once per frame of the player's view.
	void Capture_RenderThread(
		FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs);

	// Render thread: waits for the GPU and sends what it has drawn; lockstep's end of a frame.
	void Finish_RenderThread(FRHICommandListImmediate& RHICmdList);

	// Render thread: as Finish, for all tasks too; the last call before destruction.
	void Drain_RenderThread(FRHICommandListImmediate& RHICmdList);

	// Game thread, now and then: makes the link once the picture's size is known. A recording goes on
	// through a change of size; a new link is made where nobody records or frames no longer fit.
	void Tick_GameThread();

	// Game thread. Null before the first frame.
	realmaster::Plugin* Link() const { return GameLink.get(); }
	bool IsLockstep() const { return Options.Link.lockstep; }
	double LockstepSeconds() const { return static_cast<double>(Options.Link.dt_sim_ns) * 1e-9; }
	int64 LastSimTimeNs() const { return LastSimNs.load(); }
	float UnitNormalShare() const { return UnitNormals.load(); }

	// The name of a scene texture that the last frame lacked; null where it had all.
	const TCHAR* MissingTexture() const { return Missing.load(); }

private:
	using FLink = std::shared_ptr<realmaster::Plugin>;
	enum EBuffer { Color, Depth, Normal, Velocity, Stencil, NumBuffers };

	struct FSizes
	{
		realmaster::Size Render, Output;
		bool operator==(const FSizes& Other) const;
		bool FitsInto(const FSizes& Declared) const;
	};

	// The camera of a frame. Frame: the engine's counter.
	struct FView
	{
		uint64 Frame = 0;
		FSizes Sizes;
		realmaster::unreal::Projection Projection;
		std::array<double, 9> K{};
		std::array<double, 16> Pose{};
		std::array<double, 2> Jitter{};
	};

	struct FEntry
	{
		std::array<TUniquePtr<FRHIGPUTextureReadback>, NumBuffers> Readbacks;
		std::array<bool, NumBuffers> bUsed{};
		std::array<realmaster::unreal::Source, NumBuffers> Mapped{};
		FLink Link;
		realmaster::Slot* Slot = nullptr;
		FView Now, Before;
		bool bHasHistory = false;
	};

	void Poll(FRHICommandListImmediate& RHICmdList, bool bWait);
	bool IsReady(const FEntry& Entry) const;
	void Map(FEntry& Entry);
	void Release(int32 Index);
	void Convert(FEntry& Entry);
	FView ViewOf(const FSceneView& View, const FSizes& Sizes) const;
	realmaster::FrameInfo InfoOf(const FSceneView& View, const FView& Now, bool bHasHistory);
	bool Enqueue(
		FRDGBuilder& GraphBuilder, const FSceneView& View, const FScreenPassTexture& SceneColor,
		const FPostProcessMaterialInputs& Inputs, FEntry& Entry);
	FRHIGPUTextureReadback* Use(FEntry& Entry, EBuffer Buffer);
	FLink MakeLink(const FSizes& Sizes) const;
	bool Needs(EBuffer Buffer) const;

	const FRealMasterOptions Options;
	realmaster::unreal::RingState Ring;
	std::vector<FEntry> Entries;

	// Render thread.
	FLink RenderLink;
	FView Last;
	bool bHasLast = false;
	uint64 NumFrames = 0;

	// Game thread.
	FLink GameLink;
	std::vector<FLink> OldLinks;
	FSizes LinkSizes;
	FSizes NextSizes;
	int32 TicksWithNextSizes = 0;

	std::atomic<uint64> SeenRender{0}, SeenOutput{0};  // width << 32 | height
	std::atomic<int64> LastSimNs{0};
	std::atomic<float> UnitNormals{1.0f};
	std::atomic<const TCHAR*> Missing{nullptr};
};
