"""The parts of the benchmark.

`contestants` starts the operators, `load` changes and watches the resources, `measures` reads the
counters of the kernel, the API server and the simulator, `phases` combines these, and `report` and
`plot` present the results. Nothing here imports the operator: it is a process like its peers.
"""
