// See RealMasterSubsystem.h.
#include "RealMasterSubsystem.h"

#include "Engine/Engine.h"
#include "HAL/IConsoleManager.h"
#include "Misc/App.h"
#include "Misc/CoreDelegates.h"
#include "Misc/EngineVersion.h"
#include "RealMasterCapture.h"
#include "RealMasterSettings.h"
#include "RealMasterViewExtension.h"
#include "RenderingThread.h"

DEFINE_LOG_CATEGORY_STATIC(LogRealMaster, Log, All);

namespace
{

// In lockstep the game waits so long for the client before each frame, if there is one.
constexpr uint32 CreditWaitMs = 30000;
// Below this share of unit vectors, G-buffer A holds no normals.
constexpr float MinUnitNormals = 0.5f;

std::string Utf8(const FString& Text)
{
	return TCHAR_TO_UTF8(*Text);
}

FRealMasterOptions OptionsOf(const URealMasterSettings& Settings)
{
	FRealMasterOptions Options;
	Options.Link.host = Utf8(Settings.Host);
	Options.Link.port = static_cast<uint16>(FMath::Clamp(Settings.Port, 1, 65535));
	Options.Link.token = Utf8(Settings.Token);
	Options.Link.engine = "Unreal Engine";
	Options.Link.engine_version = Utf8(FEngineVersion::Current().ToString());
	Options.Link.plugin = "RealMasterCapture";
	Options.Link.plugin_version = "1";
	Options.Link.game = Utf8(FApp::GetProjectName());
	Options.Link.shared_memory = Settings.bSharedMemory;
	Options.Link.lockstep = Settings.bLockstep;
	const double Fps = FMath::Clamp(static_cast<double>(Settings.LockstepFps), 1.0, 1000.0);
	Options.Link.dt_sim_ns = Settings.bLockstep ? static_cast<int64>(1e9 / Fps + 0.5) : 0;
	Options.bDepth = Settings.bDepth;
	Options.bNormal = Settings.bNormal;
	Options.bMotion = Settings.bMotion;
	Options.bInstance = Settings.bInstance;
	Options.ReadbackFrames = FMath::Clamp(Settings.ReadbackFrames, 2, 8);
	// Slots wait for the GPU as well as for the network.
	Options.Link.slots = static_cast<uint32>(Options.ReadbackFrames) + 4;
	return Options;
}

URealMasterSubsystem* RunningSubsystem()
{
	return GEngine != nullptr ? GEngine->GetEngineSubsystem<URealMasterSubsystem>() : nullptr;
}

FAutoConsoleCommand StartCommand(
	TEXT("RealMaster.Start"), TEXT("Stream the player's view to `realmaster record`."),
	FConsoleCommandDelegate::CreateLambda([]() {
		if (URealMasterSubsystem* It = RunningSubsystem())
		{
			It->Start();
		}
	}));

FAutoConsoleCommand StopCommand(
	TEXT("RealMaster.Stop"), TEXT("Stop streaming."), FConsoleCommandDelegate::CreateLambda([]() {
		if (URealMasterSubsystem* It = RunningSubsystem())
		{
			It->Stop();
		}
	}));

}  // namespace

void URealMasterSubsystem::Initialize(FSubsystemCollectionBase& Collection)
{
	Super::Initialize(Collection);
	Ticker = FTSTicker::GetCoreTicker().AddTicker(
		FTickerDelegate::CreateUObject(this, &URealMasterSubsystem::Tick), 0.0f);
	BeginFrame = FCoreDelegates::OnBeginFrame.AddUObject(this, &URealMasterSubsystem::OnBeginFrame);
	if (GetDefault<URealMasterSettings>()->bStartWithGame)
	{
		Start();
	}
}

void URealMasterSubsystem::Deinitialize()
{
	Stop();
	FCoreDelegates::OnBeginFrame.Remove(BeginFrame);
	FTSTicker::RemoveTicker(Ticker);
	Super::Deinitialize();
}

void URealMasterSubsystem::Start()
{
	if (bRunning)
	{
		return;
	}
	bRunning = true;
	const FRealMasterOptions Options = OptionsOf(*GetDefault<URealMasterSettings>());
	Capture = MakeShared<FRealMasterCapture, ESPMode::ThreadSafe>(Options);
	Extension = FSceneViewExtensions::NewExtension<FRealMasterViewExtension>(Capture.ToSharedRef());
	SetFixedTimeStep(Options.Link.lockstep);
	UE_LOG(LogRealMaster, Log, TEXT("streaming to port %d"), static_cast<int32>(Options.Link.port));
}

void URealMasterSubsystem::Stop()
{
	if (!bRunning)
	{
		return;
	}
	bRunning = false;
	SetFixedTimeStep(false);
	UE_LOG(LogRealMaster, Log, TEXT("%s"), *Status());
	Extension.Reset();
	ENQUEUE_RENDER_COMMAND(RealMasterDrain)(
		[Held = Capture](FRHICommandListImmediate& RHICmdList) { Held->Drain_RenderThread(RHICmdList); });
	FlushRenderingCommands();
	Capture.Reset();  // says bye, for two seconds at most
}

bool URealMasterSubsystem::Tick(float)
{
	if (bRunning)
	{
		Capture->Tick_GameThread();
		AnswerCommands();
	}
	return true;
}

void URealMasterSubsystem::OnBeginFrame()
{
	if (bRunning && Capture->IsLockstep() && IsConnected())
	{
		// The frame before must be on its way, or its credit would never come back.
		ENQUEUE_RENDER_COMMAND(RealMasterFinish)(
			[Held = Capture](FRHICommandListImmediate& RHICmdList) { Held->Finish_RenderThread(RHICmdList); });
		Capture->Link()->wait_credit(CreditWaitMs);
	}
}

void URealMasterSubsystem::AnswerCommands()
{
	realmaster::Plugin* Link = Capture->Link();
	realmaster::Command Command;
	bool bStop = false;
	while (Link != nullptr && Link->poll_command(&Command))
	{
		const FString Name = FString(UTF8_TO_TCHAR(Command.name));
		bStop = bStop || Name == TEXT("stop");
		const bool bKnown = Name == TEXT("start") || Name == TEXT("stop");
		Link->answer(Command, bKnown, bKnown ? "" : "this plugin knows start and stop");
	}
	if (bStop)
	{
		Stop();
	}
}

bool URealMasterSubsystem::IsConnected() const
{
	return bRunning && Capture->Link() != nullptr && Capture->Link()->connected();
}

FString URealMasterSubsystem::Status() const
{
	if (!Capture || Capture->Link() == nullptr)
	{
		return bRunning ? TEXT("waiting for the first frame of the game") : TEXT("not capturing");
	}
	const realmaster::Stats Stats = Capture->Link()->stats();
	FString Line = FString::Printf(
		TEXT("%llu frames rendered, %llu sent"), static_cast<unsigned long long>(Stats.rendered),
		static_cast<unsigned long long>(Stats.sent));
	for (size_t Cause = 0; Cause < realmaster::num_causes; ++Cause)
	{
		if (Stats.drops[Cause] != 0)
		{
			const char* Name = realmaster::name_of(static_cast<realmaster::Cause>(Cause));
			Line += FString::Printf(
				TEXT(", %llu %s"), static_cast<unsigned long long>(Stats.drops[Cause]), UTF8_TO_TCHAR(Name));
		}
	}
	if (const TCHAR* Missing = Capture->MissingTexture())
	{
		Line += FString::Printf(TEXT("; frames lack %s (forward shading?)"), Missing);
	}
	if (Capture->UnitNormalShare() < MinUnitNormals)
	{
		Line += TEXT("; G-buffer A holds no normals (Substrate?): switch the buffer off in the settings");
	}
	char Error[256] = {};
	if (Capture->Link()->error(Error, sizeof(Error)))
	{
		Line += FString(TEXT("; ")) + FString(UTF8_TO_TCHAR(Error));
	}
	return Line;
}

void URealMasterSubsystem::Mark(const FString& Label)
{
	if (IsConnected())
	{
		Capture->Link()->mark(Capture->LastSimTimeNs(), TCHAR_TO_UTF8(*Label));
	}
}

void URealMasterSubsystem::SetFixedTimeStep(bool bFixed)
{
	if (bFixed)
	{
		bHadFixedTimeStep = FApp::UseFixedTimeStep();
		HadFixedDeltaTime = FApp::GetFixedDeltaTime();
		FApp::SetFixedDeltaTime(Capture->LockstepSeconds());
		FApp::SetUseFixedTimeStep(true);
	}
	else if (Capture && Capture->IsLockstep())
	{
		FApp::SetFixedDeltaTime(HadFixedDeltaTime);
		FApp::SetUseFixedTimeStep(bHadFixedTimeStep);
	}
}
