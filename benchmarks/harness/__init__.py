"""The benchmark's parts: what is measured, against whom, and how it is told.

`contestants` starts them, `load` changes and watches the resources, `measures` reads what the
kernel, the API server and the simulator counted, `phases` puts these together, and `report` and
`plot` tell the result. Nothing here imports the operator: it is a process like the others.
"""
