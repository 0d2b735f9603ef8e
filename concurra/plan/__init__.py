"""Tasks, what they depend on, and which of them is next: pure."""
