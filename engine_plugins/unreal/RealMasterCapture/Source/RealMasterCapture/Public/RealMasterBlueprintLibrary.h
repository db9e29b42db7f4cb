// Start, stop and look at the capture from Blueprints.
#pragma once

#include "CoreMinimal.h"
#include "Kismet/BlueprintFunctionLibrary.h"

#include "RealMasterBlueprintLibrary.generated.h"

UCLASS()
class REALMASTERCAPTURE_API URealMasterBlueprintLibrary : public UBlueprintFunctionLibrary
{
	GENERATED_BODY()

public:
	/** Stream the player's view from the next frame on; again does nothing. */
	UFUNCTION(BlueprintCallable, Category = "RealMaster")
	static void StartCapture();

	/** Stop streaming and say bye to the client; again does nothing. */
	UFUNCTION(BlueprintCallable, Category = "RealMaster")
	static void StopCapture();

	/** Whether a client takes frames now. */
	UFUNCTION(BlueprintPure, Category = "RealMaster")
	static bool IsConnected();

	/** One line: frames sent and dropped by cause, and what went wrong last. */
	UFUNCTION(BlueprintPure, Category = "RealMaster")
	static FString GetStatus();

	/** A named moment in the recording, at the game time of the last frame. */
	UFUNCTION(BlueprintCallable, Category = "RealMaster")
	static void Mark(const FString& Label);
};
