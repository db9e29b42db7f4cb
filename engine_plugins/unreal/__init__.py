"""Unreal Engine: import of Movie Render Queue files, and the live plugin (RealMasterCapture/)."""
