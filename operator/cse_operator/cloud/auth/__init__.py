"""How calls to the vendor prove who makes them.

Belongs here: credentials, signatures, tokens, and the breaker that keeps bad ones from being tried.
Does not belong here: where credentials are kept, or which resource uses which.
"""
