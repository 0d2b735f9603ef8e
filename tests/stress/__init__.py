"""Random runs against an oracle; `python -m tests.stress --help` for the long run."""
