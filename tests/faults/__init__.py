"""Real faults: whatever happens, results are complete and nothing is left behind."""
