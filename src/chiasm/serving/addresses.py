"""Where processes meet: ipc sockets in a folder that only their owner can enter."""

import os
import stat
import tempfile
from pathlib import Path

from chiasm.errors import SettingsError

MAX_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux


def make_private_folder() -> Path:
    """A new folder of mode 0700 with a short path, for sockets. The caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix="chiasm-"))
    if len(os.fsencode(folder)) > MAX_SOCKET_PATH - 20:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="chiasm-", dir="/tmp"))
    return folder


def ipc_address(folder: Path, name: str) -> str:
    """``ipc://folder/name``.

    Raises:
        SettingsError: the path is too long for a socket.
    """
    path = folder / name
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise SettingsError(
            f"expected a socket path of at most {MAX_SOCKET_PATH} bytes, got {path}",
            f"套接字路径不得超过 {MAX_SOCKET_PATH} 字节，实际为 {path}",
        )
    return f"ipc://{path}"


def folder_of(address: str) -> Path:
    """The folder that :func:`ipc_address` was given."""
    return Path(address.removeprefix("ipc://")).parent


def expect_private(address: str) -> None:
    """Refuse to listen where others could connect.

    Raises:
        SettingsError: not ipc or inproc, or a folder that is not ours alone (mode 0700).
    """
    if address.startswith("inproc://"):
        return
    if not address.startswith("ipc:///"):
        raise SettingsError(
            f"expected an ipc:///… address, got {address!r}", f"地址应为 ipc:///… 形式，实际为 {address!r}"
        )
    folder = folder_of(address)
    try:
        status = folder.stat()
    except OSError as error:
        raise SettingsError(
            f"expected an existing folder, got {folder}: {error.strerror}",
            f"套接字所在文件夹不可用：{folder}（{error.strerror}）",
        ) from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise SettingsError(
            f"expected a folder that only its owner can enter (mode 0700), got {folder} "
            f"with mode {stat.S_IMODE(status.st_mode):04o}",
            f"套接字所在文件夹应仅限所有者访问（权限 0700），实际 {folder} "
            f"的权限为 {stat.S_IMODE(status.st_mode):04o}",
        )
