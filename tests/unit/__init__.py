"""One room of the library at a time: no process is started, no real time is waited for."""
