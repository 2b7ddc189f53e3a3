"""``python -m lb.tools.testcard URL``: publish a test card by RTMP until standard input closes."""

from __future__ import annotations

import sys

from lb.tools.testcard.publisher import main

if __name__ == "__main__":
    main(sys.argv[1])
