"""What a call costs from C++, beside ``torch::nn::init``: ``python -m tools.bench.calls`` prints a table."""

import subprocess
import sys
from pathlib import Path

from tools import native


def main() -> int:
    reason = native.missing()
    if reason is not None:
        sys.stderr.write(f"nothing to compile with: {reason}\n")
        return 1
    program = native.program(Path(__file__).with_suffix(".cpp").read_text())
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    print(
        "| 4x4, us a call | torch::nn::init | Init | archive's method | MobileInit |\n| --- | --- | --- | --- | --- |"
    )
    for line in rows:
        name, *times = line.split()
        print(f"| `{name}` | " + " | ".join(f"{float(time):.2f}" for time in times) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
