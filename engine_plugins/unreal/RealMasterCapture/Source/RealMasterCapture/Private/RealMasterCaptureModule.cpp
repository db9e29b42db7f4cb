// The module: makes the plugin's shader folder known, which must happen before shaders are loaded.
#include "Interfaces/IPluginManager.h"
#include "Misc/Paths.h"
#include "Modules/ModuleManager.h"
#include "ShaderCore.h"

class FRealMasterCaptureModule final : public IModuleInterface
{
public:
	virtual void StartupModule() override
	{
		const TSharedPtr<IPlugin> Plugin = IPluginManager::Get().FindPlugin(TEXT("RealMasterCapture"));
		if (Plugin.IsValid())
		{
			const FString Folder = FPaths::Combine(Plugin->GetBaseDir(), TEXT("Shaders"));
			AddShaderSourceDirectoryMapping(TEXT("/Plugin/RealMasterCapture"), Folder);
		}
	}
};

IMPLEMENT_MODULE(FRealMasterCaptureModule, RealMasterCapture)
