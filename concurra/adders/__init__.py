"""The methods of `TaskRunner` that add tasks, and what they check."""
