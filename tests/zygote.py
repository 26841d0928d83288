"""Processes of sites' models that need not import again: a process that has imported all of it, and forks.

Starting `python -m fedtailor.network.site.model_process` costs some five seconds of imports, and the tests start it some fifty times. What
runs in a fork is the same; a test of a model that dies while it is loaded, and those on a real network, start the command itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FDS = 3  # standard input, output and error
START, MODULE = ["-P", "-m", "fedtailor.orphans"], "fedtailor.network.site.model_process"


class Zygote:
    """A process that has imported what models' processes need; `popen` takes the place of `subprocess.Popen`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen()
            self._process = subprocess.Popen([sys.executable, __file__, str(listener.fileno())], pass_fds=[listener.fileno()])

    def popen(self, command: list[str], *, stderr: Any, env: dict[str, str], cwd: Any, **_: Any) -> Any:
        """Return a fork that does what the process of a site's model does; it ends with its pipes."""
        *start, _, module = command[1:]
        assert (start, module) == (START, MODULE), f"a site's model is started by another command today: {command}"
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        line = socket.socket(socket.AF_UNIX)
        line.connect(self._path)
        socket.send_fds(line, [b"fork"], [theirs_in, theirs_out, stderr.fileno()])
        line.sendall(json.dumps({"env": env, "cwd": str(cwd)}).encode() + b"\n")
        os.close(theirs_in)
        os.close(theirs_out)
        return Forked(line, int(line.recv(32)), os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"))

    def close(self) -> None:
        """End the process that forks; its forks end with their pipes."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


class Forked:
    """What of `subprocess.Popen` the keeper of a model uses."""

    def __init__(self, line: socket.socket, pid: int, stdin: Any, stdout: Any) -> None:
        self._line, self.pid, self.stdin, self.stdout = line, pid, stdin, stdout
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return once the process has ended, which closes its end of the line."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self._line.recv(1)
            except TimeoutError:
                raise subprocess.TimeoutExpired("model process", timeout or 0.0) from None
            except BlockingIOError:
                raise subprocess.TimeoutExpired("model process", 0.0) from None
            self.returncode = 0
            self._line.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return 0 if the process has ended, else None."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill -9 the process, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def serve(listener: socket.socket) -> None:
    """Fork for each that connects."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        line, _ = listener.accept()
        _, fds, _, _ = socket.recv_fds(line, 4, FDS)
        with line.makefile("rb") as told:
            how = json.loads(told.readline())
        child = os.fork()
        if child:
            line.sendall(f"{child:32d}".encode())
            for fd in fds:
                os.close(fd)
            line.close()
            continue
        listener.close()
        os.environ.clear()
        os.environ.update(how["env"])
        os.chdir(how["cwd"])
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        from fedtailor.network.site.model_process import main

        try:
            main()
        finally:
            os._exit(0)


if __name__ == "__main__":
    import peft.tuners  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sacrebleu  # noqa: F401
    import transformers.models.bert.modeling_bert
    import transformers.models.gpt2.modeling_gpt2
    import transformers.models.llama.modeling_llama  # noqa: F401

    import fedtailor.assembly.pipeline
    import fedtailor.network.site.model_process  # noqa: F401

    serve(socket.socket(fileno=int(sys.argv[1])))
