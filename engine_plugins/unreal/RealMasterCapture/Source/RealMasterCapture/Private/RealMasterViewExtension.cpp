// See RealMasterViewExtension.h.
#include "RealMasterViewExtension.h"

#include "Engine/Engine.h"
#include "Engine/GameViewportClient.h"
#include "RealMasterCapture.h"
#include "SceneView.h"

FRealMasterViewExtension::FRealMasterViewExtension(
	const FAutoRegister& AutoRegister, const TSharedRef<FRealMasterCapture, ESPMode::ThreadSafe>& InCapture)
	: FSceneViewExtensionBase(AutoRegister)
	, Capture(InCapture)
{
}

bool FRealMasterViewExtension::IsActiveThisFrame_Internal(const FSceneViewExtensionContext& Context) const
{
	return GEngine != nullptr && GEngine->GameViewport != nullptr && Context.Viewport != nullptr &&
		Context.Viewport == GEngine->GameViewport->Viewport;
}

void FRealMasterViewExtension::SubscribeToPostProcessingPass(REALMASTER_SUBSCRIBE_PARAMETERS)
{
	if (Pass == EPostProcessingPass::Tonemap && bIsPassEnabled)
	{
		InOutPassCallbacks.Add(FAfterPassCallbackDelegate::CreateSP(
			this, &FRealMasterViewExtension::AfterTonemap_RenderThread));
	}
}

FScreenPassTexture FRealMasterViewExtension::AfterTonemap_RenderThread(
	FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs)
{
	const FSceneViewFamily* Family = View.Family;
	const bool bIsFirst = Family != nullptr && Family->Views.Num() > 0 && Family->Views[0] == &View;
	if (bIsFirst && View.bIsGameView && !View.bIsSceneCapture)
	{
		Capture->Capture_RenderThread(GraphBuilder, View, Inputs);
	}
	return Inputs.ReturnUntouchedSceneColorForPostProcessing(GraphBuilder);
}
