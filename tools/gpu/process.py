"""Keeps a worker process, and stops one that hangs."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from tools.gpu import worker
from tools.gpu.sections import Settings

# Not fork: CUDA does not live on in a forked process.
_CONTEXT = multiprocessing.get_context("spawn")


class Worker:
    """Runs sections in one process, and in a new one after a crash."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def _start(self) -> Connection:
        own, other = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=worker.serve, args=(other, self._settings), daemon=False)
        self._process.start()
        # Only the process holds this end, so that its death ends the connection.
        other.close()
        self._connection = own
        return own

    def run(self, name: str, seconds: float, most: float) -> dict[str, Any]:
        """Run a section.

        Args:
            name: the section
            seconds: time after which it should end by itself
            most: time after which it is stopped

        Returns:
            how it ended, and its rows; also if the process was stopped or has crashed
        """
        begin, rows = time.monotonic(), list[Any]()
        connection = self._connection or self._start()
        cut, error = f"stopped after {most:.0f} s", ""
        try:
            connection.send((name, seconds))
            while connection.poll(max(0.0, begin + most - time.monotonic())):
                message = connection.recv()
                if "row" not in message:
                    if not message.pop("usable"):
                        self.stop()
                    return {**message, "rows": rows}
                rows.append(message["row"])
        except (EOFError, OSError):
            cut, error = "", f"the process ended by itself{self._exit_code()}"
        self.stop()
        return {
            "name": name,
            "seconds": time.monotonic() - begin,
            "cut": cut,
            "error": error,
            "failed": sum(row.get("failed", 0) for row in rows),
            "rows": rows,
        }

    def _exit_code(self) -> str:
        if self._process is None:
            return ""
        self._process.join(5)
        return f" with code {self._process.exitcode}"

    def stop(self) -> None:
        """End the process, if there is one; the next section starts another."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            # It ends by itself once the connection is closed, unless it hangs.
            self._process.join(0.2)
            self._process.kill()
            self._process.join()
        self._process = self._connection = None
