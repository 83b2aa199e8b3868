"""`kubectl cse`: shows people their engines and changes the resources, by calls of kubectl.

It imports only the standard library and the resource's names, so it runs as a zip file with any
Python from 3.11 on, and starts in an instant. It has the login that kubectl has.
"""
