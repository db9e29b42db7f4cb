// The compute shader of Shaders/Private/RealMasterStencil.usf and how it is called.
#pragma once

#include "GlobalShader.h"
#include "RenderGraphUtils.h"
#include "ShaderParameterStruct.h"

class FRealMasterStencilCS : public FGlobalShader
{
public:
	DECLARE_GLOBAL_SHADER(FRealMasterStencilCS);
	SHADER_USE_PARAMETER_STRUCT(FRealMasterStencilCS, FGlobalShader);

	BEGIN_SHADER_PARAMETER_STRUCT(FParameters, )
		SHADER_PARAMETER_RDG_TEXTURE_SRV(Texture2D<uint2>, Stencil)
		SHADER_PARAMETER_RDG_TEXTURE_UAV(RWTexture2D<uint>, Output)
		SHADER_PARAMETER(FUintVector2, Origin)
		SHADER_PARAMETER(FUintVector2, Size)
	END_SHADER_PARAMETER_STRUCT()

	static bool ShouldCompilePermutation(const FGlobalShaderPermutationParameters& Parameters)
	{
		return IsFeatureLevelSupported(Parameters.Platform, ERHIFeatureLevel::SM5);
	}
};
