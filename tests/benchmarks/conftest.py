"""Benchmarks are scripts of the repository, which are imported from its root."""

from __future__ import annotations

import sys

from locations import REPOSITORY

sys.path.insert(0, str(REPOSITORY))
