"""Stand-ins for rehearsals: the vendor's API with faults on demand, and a local API server."""
