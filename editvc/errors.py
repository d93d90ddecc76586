"""The floor of every error that a user can meet.

An error class stands beside the code that raises it, derives from :class:`EditvcError`, says what
went wrong and where, and carries a ``hint``: the way out, mostly the next command to run. One
boundary, in ``cli/``, prints them; the library only raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class EditvcError(Exception):
    """A known failure: the user's input, the repository's state, or a gate that refused.

    ``details`` are the texts that the message cuts, whole, for scripts: JSON values by name.
    ``exit_code`` follows the contract of the command line: 1 input or state, 2 usage, 3 a damaged
    repository, 4 a refused gate, 5 another process that was faster each time.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.details = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever a class is made of: errors come back from other processes."""
        return _restored, (type(self), self.args, vars(self))


def _restored(
    kind: type[EditvcError], args: tuple[Any, ...], values: Mapping[str, Any]
) -> EditvcError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(values)
    return error


class DamageError(EditvcError):
    """Something stored is missing, or its bytes are not what was written."""

    exit_code: ClassVar[int] = 3


class GateError(EditvcError):
    """A health or test gate said no. Nothing was changed."""

    exit_code: ClassVar[int] = 4
