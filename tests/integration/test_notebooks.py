"""Notebooks and shells that await at the top level, as they ship."""

import os
import subprocess
import sys

import pytest
from frameworks import need

from diga_async.sandbox import Sandbox

KERNEL = """
import asyncio, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()

async def main():
    for cell in sys.stdin.read().splitlines():
        code = shell.transform_cell(cell)
        (await shell.run_cell_async(cell, transformed_cell=code)).raise_error()

asyncio.run(main())
"""
SHELLS = {
    "asyncio": ["-m", "asyncio"],
    "IPython": ["-m", "IPython", "--simple-prompt", "--no-banner", "--quick"],
    "IPython in a running loop, as Jupyter's kernel has it": ["-c", KERNEL],
}
CELLS = """
from diga_async import DigaClient
diga = DigaClient()
batch = await diga.phones.get_many([{phone_id!r}])
batch
phone = await diga.phones.get({phone_id!r})
phone
await diga.close()
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_client_serves_every_cell(shell, tmp_path):
    """Between cells the loop of IPython's shell does not run; Jupyter's does."""
    if "IPython" in shell:
        need("IPython")
    with Sandbox(phones=1) as sandbox:
        (phone_id,) = map(str, sandbox.phone_ids)
        (record,) = sandbox.phones.values()
        record["checkout_url"] = "https://checkout.example/secret"
        environment = {
            "DIGA_API_KEY": sandbox.api_key,
            "DIGA_BASE_URL": sandbox.url,
            "IPYTHONDIR": str(tmp_path),
            "PYTHONWARNINGS": "error::ResourceWarning",
            "TERM": "dumb",
        }
        session = subprocess.run(
            [sys.executable, *SHELLS[shell]],
            env=os.environ | environment,
            input=CELLS.format(phone_id=phone_id),
            capture_output=True,
            encoding="utf-8",
            check=True,
        )

    printed = session.stdout
    assert "PhoneBatch(phones=1, missing=0, failures=0, unanswered=0)\n" in printed
    (shown,) = [line for line in printed.splitlines() if "Phone(" in line]
    assert record["number"] in shown
    assert "checkout" not in printed
    assert "Traceback" not in printed + session.stderr
    assert "Warning" not in session.stderr
