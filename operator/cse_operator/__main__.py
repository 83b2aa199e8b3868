"""`python -m cse_operator` is `cse-operator`."""

from cse_operator.cli.main import main

raise SystemExit(main())
