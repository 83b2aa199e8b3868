"""The demo: an upgrade end to end, before a newcomer's eyes, with nothing to install.

It knows the operator as its users do, by its command line and by what `kubectl` shows, and so
it can live here, beside the simulator and the control plane that it brings along
(docs/adr/0007). `make demo` runs `python -m cse_simulator.demo`.
"""
