"""The promises of the workers, kept by each of them; then what is special to each."""
