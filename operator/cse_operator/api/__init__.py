"""The resource `MicroserviceEngine`: its models, its conditions and reasons, its CRD.

Belongs here: what a user writes and reads. Knows nothing of the other packages.
"""
