"""The shelf of commands: one file holds one click command named like the file; heavy imports inside functions."""
