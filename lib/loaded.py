"""What this process runs: the text of each of our own modules as it was when it was imported.

A file may be edited while a process lives; then its text no longer says what computes here. So a module of
this library, or of a user's own folder, is compiled from the text that is kept here, and not from a cache.
"""

import sys
import sysconfig
from importlib.machinery import PathFinder, SourceFileLoader

TEXTS: dict[str, bytes] = {}  # by the module's name; those imported before this one are missing
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str):
        TEXTS[fullname] = self.get_data(self.path)
        return self.source_to_code(TEXTS[fullname], self.path)


class _Finder:
    @staticmethod
    def find_spec(name: str, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        own = name.partition(".")[0] == "lib" or spec and not str(spec.origin).startswith(_INSTALLED)
        if own and spec and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.origin)
        return spec


def watch() -> None:
    """Keep the text of what is imported from now on; it takes the place of Python's own finder of files."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _Finder)
