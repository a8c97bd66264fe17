"""Results as JSON: one file, a section for each program and its machine."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def made_with(*packages):
    """Return a description of this machine and its software."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: found for name in packages if (found := _version(name))},
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def save(file, section, content):
    """Put a section into the file; leave the others as they are."""
    path = Path(file)
    sections = json.loads(path.read_text()) if path.exists() else {}
    sections[section] = content
    path.write_text(packed(sections) + "\n")
    print(f"saved as {section!r} in {file}", file=sys.stderr)


def packed(value, indent=0):
    """Write JSON with a list of numbers on one line, so that diffs are readable."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    margin = " " * (indent + 2)
    lines = [
        f"{margin}{json.dumps(name, ensure_ascii=False)}: {packed(item, indent + 2)}"
        for name, item in value.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
