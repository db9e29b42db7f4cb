// Sits on the player's view: after tonemapping, and before any interface is drawn, it hands that
// frame's color and scene textures to the capture. All of one frame come from this one call.
#pragma once

#include "EngineVersion.h"
#include "PostProcess/PostProcessMaterialInputs.h"

class FRealMasterCapture;

class FRealMasterViewExtension : public FSceneViewExtensionBase
{
public:
	FRealMasterViewExtension(
		const FAutoRegister& AutoRegister,
		const TSharedRef<FRealMasterCapture, ESPMode::ThreadSafe>& InCapture);

	virtual void SetupViewFamily(FSceneViewFamily&) override {}
	virtual void SetupView(FSceneViewFamily&, FSceneView&) override {}
	virtual void BeginRenderViewFamily(FSceneViewFamily&) override {}
	virtual void SubscribeToPostProcessingPass(REALMASTER_SUBSCRIBE_PARAMETERS) override;

protected:
	virtual bool IsActiveThisFrame_Internal(const FSceneViewExtensionContext& Context) const override;

private:
	FScreenPassTexture AfterTonemap_RenderThread(
		FRDGBuilder& GraphBuilder, const FSceneView& View, const FPostProcessMaterialInputs& Inputs);

	TSharedRef<FRealMasterCapture, ESPMode::ThreadSafe> Capture;
};
