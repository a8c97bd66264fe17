"""Which certificates are trusted, as SSL_CERT_FILE and SSL_CERT_DIR say."""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

#: OpenSSL finds a certificate in a folder by the hash of its subject.
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


def trust_remedy(environ: Mapping[str, str]) -> str:
    """Return what helps where the authority of a certificate is not trusted."""
    found = named_certificates(environ)
    remedy = (
        "to trust its authority, set SSL_CERT_FILE to a file with the authority's "
        "certificate"
    )
    return remedy if found is None else f"{remedy}: {found}"


def named_certificates(environ: Mapping[str, str]) -> str | None:
    """Return what the variables name; None when none is set."""
    name = environ.get("SSL_CERT_FILE")
    if name is not None:
        return f"SSL_CERT_FILE {_state_of_file(name)}"
    folders = environ.get("SSL_CERT_DIR")
    if folders is None:
        return None
    return f"SSL_CERT_DIR {_state_of_folders(folders)}"


def _state_of_file(name: str) -> str:
    if not name:
        return "is set to nothing"
    path = Path(name)
    if not path.exists():
        return f"names {name}: no such file"
    if path.is_dir():
        return f"names {name}, which is a directory"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=name)
    except ssl.SSLError:
        return f"names {name}, which holds no certificate in PEM form"
    except OSError as error:
        return f"names {name}, which cannot be read: {error.strerror}"
    return f"names {name}, which does not hold it"


def _state_of_folders(names: str) -> str:
    folders = [Path(name) for name in names.split(os.pathsep) if name]
    if not any(map(Path.is_dir, folders)):
        return f"names {names}: no such directory"
    try:
        names_in = [p.name for f in folders if f.is_dir() for p in f.iterdir()]
    except OSError as error:
        return f"names {names}, which cannot be read: {error.strerror}"
    if not any(map(_HASHED.fullmatch, names_in)):
        return f"names {names}, which holds no certificate under its hash (c_rehash)"
    return f"names {names}, which does not hold it"
