"""What is written to the log, and when."""
