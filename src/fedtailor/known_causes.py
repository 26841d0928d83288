"""The list of causes that are known, each with what to try.

Libraries are known by the names of their exceptions, so that nothing is imported for it.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

Test = Callable[[BaseException], bool]


@dataclass(frozen=True)
class Rule:
    """What is known of one cause."""

    name: str
    fits: Test
    what: str
    advice: str


def _numbers(*codes: int) -> Test:
    return lambda fault: isinstance(fault, OSError) and fault.errno in codes


def _says(*texts: str) -> Test:
    return lambda fault: not isinstance(fault, SyntaxError) and any(text in str(fault).lower() for text in texts)


def _is(*names: str) -> Test:
    """Return a test for classes by name, or by module and name, also for what is derived from them."""

    def test(fault: BaseException) -> bool:
        kinds = type(fault).__mro__
        return any(kind.__name__ in names or f"{kind.__module__}.{kind.__name__}" in names for kind in kinds)

    return test


def _any(*tests: Test) -> Test:
    return lambda fault: any(test(fault) for test in tests)


def _all(*tests: Test) -> Test:
    return lambda fault: all(test(fault) for test in tests)


# The first rule that fits counts, so what is narrow stands above what is wide.
RULES = (
    Rule(
        "threads",
        _any(_says("can't start new thread", "pthread_create", "libgomp"), _numbers(errno.EAGAIN)),
        "the system starts no further thread or process",
        "set threads lower, or raise the limit on processes (ulimit -u)",
    ),
    Rule(
        "memory",
        _any(
            _is("MemoryError", "OutOfMemoryError"),
            _numbers(errno.ENOMEM),
            _says("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc"),
        ),
        "there is not enough memory",
        "use a smaller model, smaller batches (batch_size, max_tokens), or a machine with more memory",
    ),
    Rule(
        "device",
        _any(
            _is("AcceleratorError"),
            _says("cuda error", "cuda driver", "not compiled with cuda", "no kernel image", "nvidia driver"),
        ),
        "the device or its driver failed",
        "check it with nvidia-smi, or set device: cpu",
    ),
    Rule(
        "disk full",
        _any(_numbers(errno.ENOSPC, errno.EDQUOT), _says("no space left on device", "disk quota exceeded", "disk is full")),
        "the disk is full, or its quota used up",
        "free some space, or write to another disk",
    ),
    Rule(
        "file too large",
        _any(_numbers(errno.EFBIG), _says("file too large")),
        "a file grew beyond what the system permits",
        "raise the limit (ulimit -f), or use another file system",
    ),
    Rule(
        "read-only",
        _any(_numbers(errno.EROFS), _says("read-only file system")),
        "the file system is read-only",
        "write to another place, or mount it for writing",
    ),
    Rule(
        "permission",
        _any(_is("PermissionError"), _says("permission denied", "operation not permitted")),
        "the system does not permit it",
        "check who owns the file or folder and its mode (ls -l), or choose another one",
    ),
    Rule(
        "too many files",
        _any(_numbers(errno.EMFILE, errno.ENFILE), _says("too many open files")),
        "too many files are open",
        "raise the limit (ulimit -n)",
    ),
    Rule(
        "name too long",
        _any(_numbers(errno.ENAMETOOLONG), _says("file name too long")),
        "the name of a file is longer than the system permits",
        "choose a shorter name or path",
    ),
    Rule(
        "links",
        _any(_numbers(errno.ELOOP), _says("symlink loop", "too many levels of symbolic links")),
        "symbolic links lead round in a circle",
        "point the link at a file",
    ),
    Rule(
        "certificate",
        _any(
            _is("SSLError", "CertificateError"),
            _says("certificate verify failed", "certificate_verify_failed", "certificate has expired"),
        ),
        "a certificate was not accepted",
        "check the clock and the certificates of this machine (behind a proxy: SSL_CERT_FILE), or ask who runs the server",
    ),
    Rule(
        "timeout",
        _any(_is("TimeoutError", "Timeout", "TimeoutException"), _numbers(errno.ETIMEDOUT)),
        "it took too long",
        "try again, or raise the time that is allowed",
    ),
    Rule(
        "network",
        _any(
            _is("ConnectionError", "gaierror", "URLError", "HTTPError", "ProtocolError", "HfHubHTTPError"),
            _numbers(errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRINUSE),
        ),
        "the network or the machine at its other end failed",
        "check address, port, proxy and firewall, then try again",
    ),
    Rule(
        "missing",
        _is("FileNotFoundError"),
        "a file or folder is missing",
        "check the path; it may have been moved, renamed or deleted",
    ),
    Rule(
        "taken",
        _is("FileExistsError"),
        "there is something of that name already: a file, or a link that leads nowhere",
        "name another place, or move it away",
    ),
    Rule(
        "wrong kind of file",
        _any(_is("IsADirectoryError", "NotADirectoryError"), _numbers(errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.ESPIPE)),
        "there is a folder, a device or a pipe where a file should be, or the other way round",
        "check the path",
    ),
    Rule(
        "disk fault",
        _any(_numbers(errno.EIO, errno.ESTALE), _says("input/output error")),
        "the disk failed",
        "check the disk or the share that it is on",
    ),
    Rule(
        "version",
        _any(
            _all(_is("ImportError"), _says("cannot import name", "undefined symbol", "version")),
            _says(
                "does not recognize this architecture", "numpy.dtype size changed", "was compiled using", "unsupported version"
            ),
        ),
        "two packages, or a file and a package, are of versions that do not fit",
        "update fedtailor and what it needs: pip install --upgrade fedtailor",
    ),
    Rule(
        "import",
        _is("ImportError"),
        "a package is missing or cannot be imported",
        "install the package that it names",
    ),
    Rule("nesting", _is("RecursionError"), "it is nested too deep", "flatten it, or get the file again from where it came"),
    Rule(
        "code",
        _is("SyntaxError", "TemplateSyntaxError", "NameError"),
        "its code cannot be run",
        "correct the code",
    ),
    Rule(
        "damaged",
        _any(
            _is(
                "JSONDecodeError",
                "UnicodeDecodeError",
                "YAMLError",
                "TOMLDecodeError",
                "SafetensorError",
                "ArrowInvalid",
                "ParserError",
            ),
            _is(
                "EOFError",
                "BadZipFile",
                "BadGzipFile",
                "LZMAError",
                "ZstdError",
                "zlib.error",
                "struct.error",
                "_struct.error",
                "PanicException",
            ),
            _says("not a gzipped file", "compressed file ended", "invalid magic", "truncated", "corrupt"),
        ),
        "a file is damaged, or not of the kind that its name says",
        "get it again from where it came",
    ),
    Rule(
        "number",
        _any(_is("OverflowError", "ZeroDivisionError"), _says("exceeds the limit", "too large to convert", "overflow")),
        "a number is larger than can be computed with, or zero",
        "set a number of the usual size",
    ),
)
