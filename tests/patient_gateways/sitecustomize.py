"""Startup hook of Python: a gateway waits longer for its store; other processes are unchanged.

`patience.of_children` puts this folder on the path of a command that starts gateways by exec.
"""

from __future__ import annotations

import sys

if "iogate.gateway" in sys.orig_argv:
    from iogate.gateway.console import page
    from tests import patience

    patience.be_patient()
    vars(page).update(LIMIT_S=patience.PATIENT_S)
