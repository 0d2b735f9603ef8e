"""The page of a run in a real browser; run by name, as it needs one."""
