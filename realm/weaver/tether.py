"""Ties a service to the weaver, then becomes the service: `python -I -S tether.py <weaver pid> <program> <arguments ...>`.

The kernel sends SIGTERM to this process when its parent ends, however it ends (prctl PR_SET_PDEATHSIG, kept across
execv; source: man 2 PR_SET_PDEATHSIG). A `preexec_fn` would run Python code between fork and exec of a process that
has other threads, which may deadlock; a program of its own has no such danger. The signal fires when the *thread* that
started this process ends, so the weaver starts services from its main thread only.

Imports nothing of the package: it runs without site-packages and costs about 10 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the parent-death signal, make sure the parent is still the weaver, become the service."""
    weaver, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        sys.exit(f"error: cannot tie the process to the weaver: {os.strerror(number)}")
    # The weaver may have ended before prctl; then no signal will come.
    if os.getppid() != weaver:
        sys.exit("error: the weaver ended while this service started")
    os.execv(command[0], command)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main()
