"""The runner on executors: a scripted one, the standard pool, real clusters."""
