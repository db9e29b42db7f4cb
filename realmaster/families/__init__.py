"""Families of video models for the diffusion tier, and the table of presets. See presets.py."""
