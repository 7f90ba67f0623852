"""torchinit without Python: its functions as one TorchScript archive, for C++ and for the mobile interpreter.

Importing this scripts nothing.
"""

from torchinit.deploy._bundle import bundle, mobile_bundle
from torchinit.deploy._package import write_package

__all__ = ["bundle", "mobile_bundle", "write_package"]
