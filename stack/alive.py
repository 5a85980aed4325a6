# ruff: noqa: INP001  # a script for containers, not a package
"""Health check of a replica: does it answer at all? Before lab 6 there is no /livez, and 404 is an answer too."""

import os
import sys
import urllib.error
import urllib.request

address = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/livez"
try:
    urllib.request.urlopen(address, timeout=2)
except urllib.error.HTTPError as answer:
    sys.exit(answer.code != 404)
