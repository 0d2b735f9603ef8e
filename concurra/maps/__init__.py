"""Many calls of one function as one task: see `TaskRunner.map`."""
