"""`inspect`, `verify`, `recover` and `export`."""
