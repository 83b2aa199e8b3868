"""The vendor's API: the one place that knows HTTP, authentication and the wire format.

Belongs here: the client, credentials, error translation, rate limits.
Does not belong here: Kubernetes, or any decision about what should happen to an engine.
"""
