"""Renders ``torchinit/deploy/package/torchinitConfigVersion.cmake``: the version for ``find_package(torchinit)``."""

from collections.abc import Sequence

from tools.codegen.deployed import version
from tools.codegen.model import Function
from tools.codegen.python_source import STAMP

PATH = "torchinit/deploy/package/torchinitConfigVersion.cmake"

_TEXT = """\
set(PACKAGE_VERSION "{version}")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
"""


def render(functions: Sequence[Function]) -> str:
    return STAMP + _TEXT.format(version=version())
