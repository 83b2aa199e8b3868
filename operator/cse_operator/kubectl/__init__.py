"""`kubectl cse`: what people see of engines and do to them, through kubectl itself.

It imports the standard library and the resource's names, and nothing else: it runs as a zip file
with any Python from 3.11 on, and starts in an instant. Whatever login kubectl has, it has.
"""
