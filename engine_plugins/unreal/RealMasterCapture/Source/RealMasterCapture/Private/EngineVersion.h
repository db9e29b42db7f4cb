// The one file that knows how Unreal 5.4 to 5.7 differ. Everything else is written for all of them.
#pragma once

#include "Runtime/Launch/Resources/Version.h"
#include "SceneViewExtension.h"

#if ENGINE_MAJOR_VERSION != 5 || ENGINE_MINOR_VERSION < 4
#error "RealMasterCapture needs Unreal 5.4 or later"
#endif

// 5.5 added the overload with the view; later versions no longer call the one without.
#if ENGINE_MINOR_VERSION >= 5
#define REALMASTER_SUBSCRIBE_PARAMETERS                                                            \
	EPostProcessingPass Pass, [[maybe_unused]] const FSceneView& InView,                           \
		FAfterPassCallbackDelegateArray& InOutPassCallbacks, bool bIsPassEnabled
#else
#define REALMASTER_SUBSCRIBE_PARAMETERS                                                            \
	EPostProcessingPass Pass, FAfterPassCallbackDelegateArray& InOutPassCallbacks,                 \
		bool bIsPassEnabled
#endif
