"""Reports: the record of a run, and each of those that are made of it."""
