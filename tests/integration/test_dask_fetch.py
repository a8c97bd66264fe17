"""The example for several machines, on a cluster of local worker processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from frameworks import need

DRIVER = Path(__file__).parents[1] / "dask_driver.py"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The driver's results, part by part; a cluster takes two seconds to start."""
    need("distributed")
    need("pyarrow")
    run = subprocess.run(
        [sys.executable, DRIVER],
        cwd=tmp_path_factory.mktemp("cluster"),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return json.loads(run.stdout)


def test_every_id_of_every_partition_has_a_row(told):
    everything = told["everything"]

    assert everything["outcomes"] == {"found": 400, "missing": 1, "failed": 1}
    assert everything["rows"] == everything["ids"]
    assert everything["same"]
    (error,) = everything["errors"]
    assert error.startswith("InvalidPhoneIdError(")


def test_each_worker_process_has_one_client_for_all_its_partitions(told):
    requests = told["workers"].values()

    assert len(requests) == 2
    assert min(requests) > 0
    assert sum(requests) == 400


def test_written_ids_are_not_looked_up_again(told):
    again = told["again"]

    assert again["exit codes"] == [0, 0]
    assert again["asked"] == again["missing"]
    assert again["rows"] == 400


def test_a_refused_key_ends_the_job_and_is_not_shown(told):
    assert told["refused"] == {"exit code": 2, "error": True, "key": False, "files": 0}
