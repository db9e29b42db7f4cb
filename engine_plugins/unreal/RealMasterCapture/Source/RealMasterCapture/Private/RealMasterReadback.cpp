// See RealMasterCapture.h. This file: from filled readbacks to the core's slots, and the link.
#include "RealMasterCapture.h"

#include "RHICommandList.h"
#include "RenderingThread.h"
#include "Tasks/Task.h"

namespace
{

constexpr std::array<size_t, 5> BytesOfPixel = {4, 4, 8, 8, 1};
// So many ticks must agree on a new size before the link is made anew: a window being dragged.
constexpr int32 SettledTicks = 30;

realmaster::Size Unpacked(uint64 Value)
{
	return {static_cast<uint32>(Value >> 32), static_cast<uint32>(Value & 0xFFFFFFFFu)};
}

realmaster::BufferDesc DescOf(
	const char* Name, const realmaster::Size& Size, realmaster::DType Type, uint32 Components)
{
	realmaster::BufferDesc Desc;
	Desc.name = Name;
	Desc.width = Size.width;
	Desc.height = Size.height;
	Desc.dtype = Type;
	Desc.components = Components;
	return Desc;
}

realmaster::StreamDesc StreamOf(const realmaster::BufferDesc& Desc, realmaster::TextMap Params)
{
	return {Desc.name, Desc.width, Desc.height, Desc.dtype, Desc.components, std::move(Params)};
}

}  // namespace

void FRealMasterCapture::Poll(FRHICommandListImmediate& RHICmdList, bool bWait)
{
	if (bWait && !Ring.is_idle())
	{
		RHICmdList.BlockUntilGPUIdle();
	}
	using EPhase = realmaster::unreal::RingState::Phase;
	for (int32 Index = 0; Index < Ring.num_entries(); ++Index)
	{
		FEntry& Entry = Entries[static_cast<size_t>(Index)];
		if (Ring.phase(Index) == EPhase::copying && (bWait || IsReady(Entry)))
		{
			Map(Entry);
			Ring.start_convert(Index);
			if (bWait)
			{
				Convert(Entry);
				Ring.finish_convert(Index);
			}
			else
			{
				UE::Tasks::Launch(UE_SOURCE_LOCATION, [this, Index, &Entry]() {
					Convert(Entry);
					Ring.finish_convert(Index);
				});
			}
		}
		else if (Ring.is_late(Index, GFrameCounterRenderThread))
		{
			Entry.Link->drop(Entry.Slot, realmaster::Cause::readback_late);
			for (auto& Readback : Entry.Readbacks)
			{
				Readback.Reset();  // its copy may still come: it is not used again
			}
			Release(Index);
		}
		if (Ring.phase(Index) == EPhase::converted)
		{
			for (size_t Buffer = 0; Buffer < NumBuffers; ++Buffer)
			{
				if (Entry.Mapped[Buffer].data != nullptr)
				{
					Entry.Readbacks[Buffer]->Unlock();
				}
			}
			Release(Index);
		}
	}
}

void FRealMasterCapture::Finish_RenderThread(FRHICommandListImmediate& RHICmdList)
{
	Poll(RHICmdList, true);
}

void FRealMasterCapture::Drain_RenderThread(FRHICommandListImmediate& RHICmdList)
{
	while (!Ring.is_idle())
	{
		Poll(RHICmdList, true);
		FPlatformProcess::YieldThread();  // a task may still be converting
	}
	RenderLink.reset();
}

bool FRealMasterCapture::IsReady(const FEntry& Entry) const
{
	for (size_t Buffer = 0; Buffer < NumBuffers; ++Buffer)
	{
		if (Entry.bUsed[Buffer] && !Entry.Readbacks[Buffer]->IsReady())
		{
			return false;
		}
	}
	return true;
}

void FRealMasterCapture::Map(FEntry& Entry)
{
	for (size_t Buffer = 0; Buffer < NumBuffers; ++Buffer)
	{
		Entry.Mapped[Buffer] = {};
		if (Entry.bUsed[Buffer])
		{
			int32 RowPixels = 0;
			const void* Data = Entry.Readbacks[Buffer]->Lock(RowPixels);
			// Rows lie RowPixels apart, which is not the width: reading at the width skews them.
			Entry.Mapped[Buffer] = {
				static_cast<const uint8*>(Data), static_cast<size_t>(RowPixels) * BytesOfPixel[Buffer]};
		}
	}
}

void FRealMasterCapture::Release(int32 Index)
{
	FEntry& Entry = Entries[static_cast<size_t>(Index)];
	Entry.Slot = nullptr;
	Entry.Link.reset();
	Ring.release(Index);
}

void FRealMasterCapture::Convert(FEntry& Entry)
{
	namespace math = realmaster::unreal;
	using realmaster::DType;
	const realmaster::Size Render = Entry.Now.Sizes.Render;
	const math::Extent Extent{Render.width, Render.height};
	const auto Into = [&Entry](const realmaster::BufferDesc& Desc) {
		return Entry.Link->add(Entry.Slot, Desc);
	};
	for (size_t Buffer = 0; Buffer < NumBuffers; ++Buffer)
	{
		if (Entry.bUsed[Buffer] && Entry.Mapped[Buffer].data == nullptr)
		{
			Entry.Link->drop(Entry.Slot, realmaster::Cause::readback_late);
			return;
		}
	}
	const math::Source& Depths = Entry.Mapped[Depth];
	const realmaster::Size Output = Entry.Now.Sizes.Output;
	if (uint8* To = Into(DescOf("color", Output, DType::u8, 4)))
	{
		math::convert_color(Entry.Mapped[Color], {Output.width, Output.height}, To);
	}
	if (uint8* To = Options.bDepth ? Into(DescOf("depth", Render, DType::f32, 1)) : nullptr)
	{
		math::convert_depth(Depths, Extent, Entry.Now.Projection, To);
	}
	if (uint8* To = Options.bNormal ? Into(DescOf("normal", Render, DType::f16, 3)) : nullptr)
	{
		const double Share = math::convert_normal(Entry.Mapped[Normal], Depths, Extent, Entry.Now.Pose, To);
		UnitNormals.store(static_cast<float>(Share));
	}
	if (uint8* To = Options.bMotion ? Into(DescOf("motion", Render, DType::f16, 2)) : nullptr)
	{
		const math::StaticMotion Still(
			Entry.Now.K, Entry.Now.Pose, Entry.Before.K, Entry.Before.Pose, Entry.Now.Jitter);
		math::convert_motion(
			Entry.Mapped[Velocity], Depths, Extent, Entry.Now.Projection, Still, Entry.bHasHistory, To);
	}
	if (uint8* To = Options.bInstance ? Into(DescOf("instance", Render, DType::u32, 1)) : nullptr)
	{
		math::convert_stencil(Entry.Mapped[Stencil], Extent, To);
	}
	Entry.Link->submit(Entry.Slot);  // where add gave nothing, the core counts the frame as dropped
}

// --- the link ------------------------------------------------------------------------------------

FRealMasterCapture::FLink FRealMasterCapture::MakeLink(const FSizes& Sizes) const
{
	using realmaster::DType;
	realmaster::Config Config = Options.Link;
	Config.streams = {StreamOf(DescOf("color", Sizes.Output, DType::u8, 4), {})};
	if (Options.bDepth)
	{
		Config.streams.push_back(StreamOf(DescOf("depth", Sizes.Render, DType::f32, 1), {}));
	}
	if (Options.bNormal)
	{
		Config.streams.push_back(
			StreamOf(DescOf("normal", Sizes.Render, DType::f16, 3), {{"source", "gbuffer"}}));
	}
	if (Options.bMotion)
	{
		Config.streams.push_back(
			StreamOf(DescOf("motion", Sizes.Render, DType::f16, 2), {{"static", "from the camera"}}));
	}
	if (Options.bInstance)
	{
		Config.streams.push_back(
			StreamOf(DescOf("instance", Sizes.Render, DType::u32, 1), {{"ids", "custom stencil"}}));
	}
	return std::make_shared<realmaster::Plugin>(Config);
}

void FRealMasterCapture::Tick_GameThread()
{
	for (size_t Index = OldLinks.size(); Index-- > 0;)
	{
		if (OldLinks[Index].use_count() == 1)
		{
			// Saying bye takes up to two seconds: not on a thread that the game waits for.
			UE::Tasks::Launch(UE_SOURCE_LOCATION, [Link = std::move(OldLinks[Index])]() mutable { Link.reset(); });
			OldLinks.erase(OldLinks.begin() + static_cast<std::ptrdiff_t>(Index));
		}
	}
	const FSizes Seen{Unpacked(SeenRender.load()), Unpacked(SeenOutput.load())};
	const bool bServes = GameLink && (Seen == LinkSizes || (GameLink->connected() && Seen.FitsInto(LinkSizes)));
	if (Seen.Render.width == 0 || bServes)
	{
		TicksWithNextSizes = 0;
		return;
	}
	TicksWithNextSizes = Seen == NextSizes ? TicksWithNextSizes + 1 : 0;
	NextSizes = Seen;
	if (GameLink && TicksWithNextSizes < SettledTicks)
	{
		return;
	}
	if (GameLink)
	{
		OldLinks.push_back(std::move(GameLink));
	}
	GameLink = MakeLink(Seen);
	LinkSizes = Seen;
	ENQUEUE_RENDER_COMMAND(RealMasterLink)(
		[this, Link = GameLink](FRHICommandListImmediate&) { RenderLink = Link; });
}
