// The game thread's side: starts and stops the capture, answers commands, keeps lockstep's time.
#pragma once

#include "Containers/Ticker.h"
#include "CoreMinimal.h"
#include "Subsystems/EngineSubsystem.h"

#include "RealMasterSubsystem.generated.h"

class FRealMasterCapture;
class FRealMasterViewExtension;

UCLASS()
class URealMasterSubsystem : public UEngineSubsystem
{
	GENERATED_BODY()

public:
	virtual void Initialize(FSubsystemCollectionBase& Collection) override;
	virtual void Deinitialize() override;

	void Start();
	void Stop();
	bool IsConnected() const;
	FString Status() const;
	void Mark(const FString& Label);

private:
	bool Tick(float DeltaTime);
	void OnBeginFrame();
	void AnswerCommands();
	void SetFixedTimeStep(bool bFixed);

	TSharedPtr<FRealMasterCapture, ESPMode::ThreadSafe> Capture;
	TSharedPtr<FRealMasterViewExtension, ESPMode::ThreadSafe> Extension;
	FTSTicker::FDelegateHandle Ticker;
	FDelegateHandle BeginFrame;
	bool bRunning = false;
	bool bHadFixedTimeStep = false;
	double HadFixedDeltaTime = 0.0;
};
