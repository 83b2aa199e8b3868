"""The demo: shows a newcomer an upgrade end to end, with nothing to install.

The demo uses the operator as its users do, by its command line and `kubectl`. So it does not
import the operator, and belongs beside the simulator and the control plane that it starts
(docs/adr/0007). `make demo` runs `python -m cse_simulator.demo`.
"""
