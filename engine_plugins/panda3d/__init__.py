"""The Panda3D plugin: attach it to any Panda3D game in two lines."""
