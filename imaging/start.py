"""Starts this package in an isolated interpreter, where no module comes from the current folder.

`python -I start.py MODULE ARGUMENT...` calls `main` of a module of this package. With `-I` Python also ignores
PYTHONPATH and the user's own site-packages. The package is loaded from the folder of this file, so that a child
runs the code of its parent wherever that lies; all other packages come from the interpreter's site-packages.

Until the interpreter is isolated, only `os` and `sys` may be imported here: they are part of Python itself.
"""

import os
import sys


def command_line() -> int:
    """The command `imaging`. Replaces the process by an isolated one, unless it is; returns the exit status."""
    if not sys.flags.isolated:
        command = isolated("imaging.cli", *sys.argv[1:])
        os.execv(command[0], command)
    return _call("imaging.cli", sys.argv[1:])


def isolated(module: str, *arguments: str) -> list[str]:
    """The command that calls `main` of a module of this package, with these arguments, in an isolated interpreter."""
    options = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    if sys.flags.utf8_mode and "utf8" not in sys._xoptions:  # by PYTHONUTF8, which an isolated one ignores
        options.append("-Xutf8")
    if sys.flags.dont_write_bytecode:
        options.append("-B")
    return [sys.executable, "-I", *options, os.path.abspath(__file__), module, *arguments]


def _call(module: str, arguments: list[str]) -> int:
    import importlib

    from imaging.memory import importing

    with importing():
        called = importlib.import_module(module)
    status: int = called.main(arguments)
    return status


def _load_package() -> None:
    """Puts this package in place, whether or not it is installed. Its folder's parent does not join `sys.path`."""
    import importlib.util

    folder = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location("imaging", os.path.join(folder, "__init__.py"))
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["imaging"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    sys.exit(_call(sys.argv[1], sys.argv[2:]))
