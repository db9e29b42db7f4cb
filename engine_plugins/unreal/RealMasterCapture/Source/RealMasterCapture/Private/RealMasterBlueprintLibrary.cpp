// See RealMasterBlueprintLibrary.h.
#include "RealMasterBlueprintLibrary.h"

#include "Engine/Engine.h"
#include "RealMasterSubsystem.h"

namespace
{

URealMasterSubsystem* Subsystem()
{
	return GEngine != nullptr ? GEngine->GetEngineSubsystem<URealMasterSubsystem>() : nullptr;
}

}  // namespace

void URealMasterBlueprintLibrary::StartCapture()
{
	if (URealMasterSubsystem* It = Subsystem())
	{
		It->Start();
	}
}

void URealMasterBlueprintLibrary::StopCapture()
{
	if (URealMasterSubsystem* It = Subsystem())
	{
		It->Stop();
	}
}

bool URealMasterBlueprintLibrary::IsConnected()
{
	const URealMasterSubsystem* It = Subsystem();
	return It != nullptr && It->IsConnected();
}

FString URealMasterBlueprintLibrary::GetStatus()
{
	const URealMasterSubsystem* It = Subsystem();
	return It != nullptr ? It->Status() : FString();
}

void URealMasterBlueprintLibrary::Mark(const FString& Label)
{
	if (URealMasterSubsystem* It = Subsystem())
	{
		It->Mark(Label);
	}
}
