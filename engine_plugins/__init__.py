"""What runs beside or inside an engine and speaks the protocol."""
