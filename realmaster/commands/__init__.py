"""The subcommands of `realmaster`: typed options in, library calls, a few printed lines out."""
