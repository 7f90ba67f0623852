"""``python -m torchinit``."""

import sys

from torchinit.cli import main

sys.exit(main())
