"""The embedded street game: seeded scene data, a Panda3D game, a path-traced truth."""
