"""The engine: every decision of a run, and the shell that does what was decided."""
