"""How a run is shown while it is at work: in a terminal, in a notebook."""
