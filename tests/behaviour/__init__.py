"""The documentation, chapter by chapter, as promises seen from outside."""
