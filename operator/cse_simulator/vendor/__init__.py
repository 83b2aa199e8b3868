"""The simulated vendor: its API with faults on demand, its world, and an admin API."""
