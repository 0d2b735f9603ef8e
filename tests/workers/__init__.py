"""The promises of the workers, kept by every one of them; then what is special to each."""
