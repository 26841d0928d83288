"""A filter on system calls: no sockets of the network, no looking into other processes, no change of the kernel.

Source: the kernel's documentation, userspace-api/seccomp_filter.html. The filter is a handful of instructions, so that no library is needed.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Sequence

from .landlock import no_new_privileges

SECCOMP, FILTER = 22, 2  # prctl, mode
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # instructions: load a word, jump if equal, jump if at least, return
NUMBER, PROCESSOR, FIRST = 0, 4, 16  # where in the data of a call: its number, the processor, the first argument
ALLOW, KILL, DENY = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
X32 = 0x40000000  # numbers of x86's second set of calls begin here
NAMES = "socket ptrace process_vm_readv process_vm_writev add_key request_key keyctl init_module perf_event_open setns finit_module bpf".split()
NUMBERS = {  # by processor: its name in the data of a call, and the numbers of NAMES
    "x86_64": (0xC000003E, (41, 101, 310, 311, 248, 249, 250, 175, 298, 308, 313, 321)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 217, 218, 219, 105, 241, 268, 273, 280)),
}
EVERYWHERE = (425, 438)  # io_uring_setup, which opens sockets too, and pidfd_getfd


def available() -> bool:
    """Return whether this kernel and processor can be used."""
    return platform.machine() in NUMBERS and os.path.exists("/proc/sys/kernel/seccomp")


def deny(families: Sequence[int] = ()) -> None:
    """Deny this process, and all that it starts, the system calls of NAMES; of `socket` those of other families than the given.

    Pairs of sockets can still be made: they lead nowhere but to who is given one of them.

    Raises:
        OSError: if the kernel refuses.
    """
    processor, numbers = NUMBERS[platform.machine()]
    by_name = dict(zip(NAMES, numbers, strict=True))
    program = [(LOAD, 0, 0, PROCESSOR), (EQUAL, 1, 0, processor), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    program += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, DENY)]
    for number in (*EVERYWHERE, *(each for name, each in by_name.items() if name != "socket")):
        program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, DENY)]
    program += [(EQUAL, 1, 0, by_name["socket"]), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST)]
    for family in families:
        program += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, DENY)]
    _install(program)


def _install(program: Sequence[tuple[int, int, int, int]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    kept = ctypes.create_string_buffer(code, len(code))
    packed = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(kept)))
    no_new_privileges()
    if libc.prctl(SECCOMP, FILTER, packed, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


INTERNET = (socket.AF_INET, socket.AF_INET6)
