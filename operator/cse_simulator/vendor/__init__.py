"""The vendor's API with faults on demand: server, world, and the admin API beside it."""
