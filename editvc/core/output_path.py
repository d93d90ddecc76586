"""Where a command may write under a name that its user gave, and how a single file gets there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from editvc.errors import EditvcError

REPOSITORY = ".editvc"
"""The folder of a repository, in which nothing is written but what belongs there."""


class TargetError(EditvcError):
    """A place that must not be written to. ``path`` is that place."""

    def __init__(self, path: Path, problem: str, *, hint: str) -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path


class UnconfirmedTarget(TargetError):
    """What was written stands under its name, and the disk did not confirm that it stays there."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(
            path,
            f"was changed, and the disk does not confirm it: {cause.strerror or cause}",
            hint="Look at the disk, and then at what is there.",
        )


def require_place(target: Path) -> None:
    """Raise :class:`TargetError` for a symbolic link, and for places inside a repository's folder.

    A link is not followed: what lies behind it was not named, and may be anybody's.
    """
    if target.is_symlink():
        raise TargetError(
            target,
            "is a symbolic link",
            hint=f"It leads to {os.path.realpath(target)}: name that, or another place.",
        )
    parts = {*Path(os.path.abspath(target)).parts, *Path(os.path.realpath(target)).parts}
    if any(part.casefold() == REPOSITORY for part in parts):
        raise TargetError(
            target,
            f"lies inside a repository's {REPOSITORY}",
            hint="Name a place outside it.",
        )


def write_output(target: Path, data: bytes) -> None:
    """Put ``data`` under the name ``target``, in place of a regular file that was there.

    It is the old file or the new one, whole, whenever this is interrupted. Raises
    :class:`TargetError` as :func:`require_place`, and for what is there and is no file.
    """
    require_place(target)
    mode = _mode(target)
    partial = target.with_name(f".{target.name}.{os.urandom(4).hex()}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        os.replace(partial, target)
    except OSError as cause:
        partial.unlink(missing_ok=True)
        # It is the user's name that cannot be written, whatever this file is called meanwhile.
        raise OSError(cause.errno, cause.strerror, os.fspath(target)) from cause
    confirm(target)


def _mode(target: Path) -> int | None:
    """The permissions of a file that is to be replaced; ``None`` where there is none."""
    try:
        found = target.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise TargetError(target, "is no regular file", hint="Name another place.")
    return stat.S_IMODE(found)


def confirm(target: Path) -> None:
    """Make a name durable that was given just now. Raises :class:`UnconfirmedTarget`."""
    try:
        flush_folder(target.parent)
    except OSError as cause:
        raise UnconfirmedTarget(target, cause) from cause


def flush_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
