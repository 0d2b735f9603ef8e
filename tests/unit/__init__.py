"""One room of the library at a time: no processes, and no real time to wait for."""
