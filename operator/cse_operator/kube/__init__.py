"""The cluster side: the only writer of status, Events, Secret reading, the Lease, the login.

Belongs here: all code that talks to the Kubernetes API through the official client.
Does not belong here: the vendor's API, or any decision about what should happen.
"""
