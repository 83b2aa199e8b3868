"""`python -m cse_operator.kubectl`, and the zip file."""

import sys

from cse_operator.kubectl.main import main

sys.exit(main())
