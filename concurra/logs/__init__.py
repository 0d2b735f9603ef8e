"""What is written to the log, and who has it written."""
