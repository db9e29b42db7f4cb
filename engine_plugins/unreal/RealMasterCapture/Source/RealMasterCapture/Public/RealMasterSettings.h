// Project Settings > Plugins > RealMaster Capture. Names follow Unreal, whose header tool reads them.
#pragma once

#include "CoreMinimal.h"
#include "Engine/DeveloperSettings.h"

#include "RealMasterSettings.generated.h"

UCLASS(Config = Game, DefaultConfig, meta = (DisplayName = "RealMaster Capture"))
class REALMASTERCAPTURE_API URealMasterSettings : public UDeveloperSettings
{
	GENERATED_BODY()

public:
	virtual FName GetCategoryName() const override { return FName(TEXT("Plugins")); }

	/** Start streaming with the game; else RealMaster.Start in the console or a Blueprint does. */
	UPROPERTY(Config, EditAnywhere, Category = "Start")
	bool bStartWithGame = false;

	/** Where `realmaster record --source listen` waits: an IPv4 address of this machine. */
	UPROPERTY(Config, EditAnywhere, Category = "Link")
	FString Host = TEXT("127.0.0.1");

	UPROPERTY(Config, EditAnywhere, Category = "Link", meta = (ClampMin = 1, ClampMax = 65535))
	int32 Port = 5570;

	/** The token of `realmaster keys`, where the client asks for one. */
	UPROPERTY(Config, EditAnywhere, Category = "Link")
	FString Token;

	/** Pass pixels through shared memory where the client offers it. */
	UPROPERTY(Config, EditAnywhere, Category = "Link")
	bool bSharedMemory = true;

	/** Lose no frame: game time advances one step a frame, and the game waits for the client. */
	UPROPERTY(Config, EditAnywhere, Category = "Time")
	bool bLockstep = false;

	/** Frames per second of game time in lockstep. */
	UPROPERTY(Config, EditAnywhere, Category = "Time", meta = (ClampMin = 1, ClampMax = 1000))
	float LockstepFps = 30.0f;

	UPROPERTY(Config, EditAnywhere, Category = "Buffers")
	bool bDepth = true;

	/** World normals of the G-buffer; not available with forward shading or Substrate. */
	UPROPERTY(Config, EditAnywhere, Category = "Buffers")
	bool bNormal = true;

	/** Velocity; needs r.VelocityOutputPass on for objects, the camera's own part is computed. */
	UPROPERTY(Config, EditAnywhere, Category = "Buffers")
	bool bMotion = true;

	/** Custom stencil values as object ids; needs r.CustomDepth=3. */
	UPROPERTY(Config, EditAnywhere, Category = "Buffers")
	bool bInstance = true;

	/** Frames that may be on their way from the GPU. */
	UPROPERTY(Config, EditAnywhere, Category = "Buffers", meta = (ClampMin = 2, ClampMax = 8))
	int32 ReadbackFrames = 4;
};
