"""A logger that prints, for scripts that want no configuration."""

from __future__ import annotations

import sys

__all__ = ["BasicLogger"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class BasicLogger:
    """Prints messages to standard output; set as ``a._logger``.

    Parameters
    ----------
    level : int
        Messages below are not printed.
    """

    def __init__(self, level: int = 0) -> None:
        self.level = level

    def setLevel(self, level: int) -> None:  # noqa: N802 (the name of logging.Logger's method)
        """Set the level."""
        self.level = level

    def _say(self, message: object, args: tuple[object, ...], level: str) -> None:
        if self.level <= LEVELS[level]:
            sys.stdout.write((str(message) % args if args else str(message)) + "\n")

    def debug(self, message: object, *args: object) -> None:
        """Print a message of level 10."""
        self._say(message, args, "debug")

    def info(self, message: object, *args: object) -> None:
        """Print a message of level 20."""
        self._say(message, args, "info")

    def warning(self, message: object, *args: object) -> None:
        """Print a message of level 30."""
        self._say(message, args, "warning")

    def error(self, message: object, *args: object) -> None:
        """Print a message of level 40."""
        self._say(message, args, "error")

    def critical(self, message: object, *args: object) -> None:
        """Print a message of level 50."""
        self._say(message, args, "critical")
