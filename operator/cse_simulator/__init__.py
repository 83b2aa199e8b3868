"""For rehearsals: the vendor's API with faults on demand, a local API server, and a demo."""
