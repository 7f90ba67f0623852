"""What a call costs from C++, beside ``torch::nn::init``: ``python -m tools.bench.calls`` prints a table."""

import subprocess
import sys
from pathlib import Path

from tools import native

_HEAD = """\
| 4x4, us a call | torch::nn::init | Init | archive's method | MobileInit |
| --- | --- | --- | --- | --- |
"""


def main() -> int:
    reason = native.missing()
    if reason is not None:
        sys.stderr.write(f"nothing to compile with: {reason}\n")
        return 1
    program = native.program(Path(__file__).with_suffix(".cpp").read_text())
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    loading, *rows = done.stdout.splitlines()
    script, mobile = (float(time) for time in loading.split())
    sys.stdout.write(f"To load, in ms: Init {script:.0f}, MobileInit {mobile:.0f}\n\n{_HEAD}")
    for row in rows:
        name, *times = row.split()
        sys.stdout.write(f"| `{name}` | " + " | ".join(f"{float(time):.2f}" for time in times) + " |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
