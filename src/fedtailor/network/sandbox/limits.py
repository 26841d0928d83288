"""Limits of a process that need no rules: it ends with its parent, has no capabilities, and uses no more than its share."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping

END_WITH_PARENT, SECURE_BITS, DROP_BOUND = 1, 28, 24  # of prctl
NO_ROOT = 0b11  # user 0 gets no capabilities by starting a program, and that cannot be changed
LAST_CAPABILITY = 63
CAPABILITIES_VERSION = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that started it, `parent`, ends."""
    _libc.prctl(END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before
        sys.exit(1)


def set_limits(limits: Mapping[str, int]) -> None:
    """Set limits by their names in `resource` without RLIMIT_, such as FSIZE; no file of memory is ever left."""
    for name, most in {"CORE": 0, **limits}.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (limit, limit))


def drop_capabilities() -> None:
    """Give up what root may do beyond the owner of its files; without effect for other users, who have no capabilities."""
    _libc.prctl(SECURE_BITS, NO_ROOT, 0, 0, 0)
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(DROP_BOUND, capability, 0, 0, 0)
    head = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    _libc.capset(head, (ctypes.c_uint32 * 6)())
