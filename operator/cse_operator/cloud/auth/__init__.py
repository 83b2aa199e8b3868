"""Authentication of the calls to the vendor.

Belongs here: credentials, signatures, tokens, and the breaker that stops using refused credentials.
Does not belong here: where credentials are kept, or which resource uses which credentials.
"""
