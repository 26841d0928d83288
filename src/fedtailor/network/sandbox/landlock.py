"""Landlock: a process gives up files, TCP and signals for good, without root; so do all processes that it starts.

Source: the kernel's documentation, userspace-api/landlock.html. It is called by number, since no library of C's has names for it.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446  # the same on every processor
BENEATH, PORT = 1, 2  # kinds of rules
EXECUTE, WRITE, READ, READ_DIR, MAKE_DEVICES, TRUNCATE, IOCTL = 1, 2, 4, 8, 1 << 6 | 1 << 11, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE | READ | TRUNCATE | IOCTL  # rights that a file can have; the others are of folders
LAST_RIGHT = {1: 12, 2: 13, 3: 14, 4: 14}  # by ABI: rights to files are the bits up to it; 15 from ABI 5 on
TCP, CONNECT = 1 | 2, 2  # bind and connect; from ABI 4 on
SCOPES = 1 | 2  # abstract Unix sockets, signals; from ABI 6 on
NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Return the version of Landlock that the kernel offers; 0 if none."""
    return max(0, int(_libc.syscall(CREATE, None, ctypes.c_size_t(0), 1)))


def restrict(
    read: Iterable[str] | None, *, names: Iterable[str] = (), write: Iterable[str] = (), ports: Iterable[int] = ()
) -> None:
    """Restrict this process, as far as the kernel can; see `abi`.

    Args:
        read: files, and folders below which files may be read and executed; None leaves files alone.
        names: folders of which the names of files may be read.
        write: files and folders below which all is permitted but to make devices.
        ports: to which TCP may connect; listening is denied.

    Raises:
        OSError: if the kernel refuses.
    """
    version = abi()
    rights = (1 << LAST_RIGHT.get(version, 15) + 1) - 1 if read is not None else 0
    network, scopes = TCP if version >= 4 else 0, SCOPES if version >= 6 else 0
    sizes = struct.pack("QQQ", rights, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _checked(_libc.syscall(CREATE, sizes, ctypes.c_size_t(len(sizes)), 0), "landlock_create_ruleset")
    places = [(path, EXECUTE | READ | READ_DIR) for path in read or ()]
    places += [(path, READ_DIR) for path in names]
    places += [(path, rights & ~MAKE_DEVICES) for path in write]
    for path, permitted in places if rights else ():
        _add_place(rules, path, permitted & rights)
    for port in ports if network else ():
        _checked(_libc.syscall(ADD, rules, PORT, struct.pack("QQ", CONNECT, port), 0), f"port {port}")
    no_new_privileges()
    _checked(_libc.syscall(RESTRICT, rules, 0), "landlock_restrict_self")
    os.close(rules)


def no_new_privileges() -> None:
    """Let no program that this process starts have more rights than it has."""
    _checked(_libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _add_place(rules: int, path: str, permitted: int) -> None:
    """Add a rule for a file or folder; one that this system has not is left out."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    permitted &= -1 if Path(path).is_dir() else OF_FILES
    if permitted:
        _checked(_libc.syscall(ADD, rules, BENEATH, struct.pack("=Qi", permitted, place), 0), path)
    os.close(place)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
