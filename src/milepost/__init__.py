"""Milepost: user properties and the guided checklist, self-hosted and multi-tenant."""

import sys
from types import ModuleType

__version__ = "0.1.0"

# The package `cel` imports its own interactive command, and with that prompt_toolkit: a sixth of the start.
# An empty module in the command's place keeps it out. It stands here, since the domain reads and writes nothing global.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
