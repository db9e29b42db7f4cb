// How Unreal builds the plugin: its own sources and, in Private/Core, RealMaster's C++ core, which
// package_plugin.py puts there.
using System.IO;
using UnrealBuildTool;

public class RealMasterCapture : ModuleRules
{
    public RealMasterCapture(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.NoPCHs;
        bUseUnity = false; // the core's files each have names of their own in unnamed namespaces
        bEnableExceptions = true; // the core catches a lack of memory, so that none leaves it
        CppStandard = CppStandardVersion.Cpp20;

        PublicDependencyModuleNames.AddRange(new[] { "Core", "CoreUObject", "Engine", "DeveloperSettings" });
        PrivateDependencyModuleNames.AddRange(new[] { "Projects", "RHI", "RenderCore", "Renderer" });

        string Core = Path.Combine(ModuleDirectory, "Private", "Core");
        if (!Directory.Exists(Core))
        {
            throw new BuildException("RealMasterCapture: Private/Core is missing; make the plugin's folder with package_plugin.py");
        }
        PrivateIncludePaths.Add(Path.Combine(ModuleDirectory, "Private"));
        PrivateIncludePaths.Add(Path.Combine(Core, "include"));
        PrivateIncludePaths.Add(Path.Combine(Core, "src"));
        if (Target.Platform == UnrealTargetPlatform.Win64)
        {
            PublicSystemLibraries.Add("ws2_32.lib");
        }
    }
}
