"""The example beyond one machine, on a cluster of worker processes of this one."""

import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import UUID

import pytest

from diga_async import Phone
from diga_async.sandbox import Faults, Sandbox

distributed = pytest.importorskip("distributed", reason="needs dask's distributed")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NOBODYS = UUID("00000000-0000-4000-8000-000000000000")
WORKERS = 2


@contextmanager
def cluster_of(workers, folder):
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=folder,
        ) as cluster,
        distributed.Client(cluster) as dask,
    ):
        yield dask


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(phones=400) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def dask(sandbox, tmp_path_factory):
    """Start workers that have the key where a real one has it: in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGA_API_KEY", sandbox.api_key)
        patch.setenv("DIGA_BASE_URL", sandbox.url)
        patch.syspath_prepend(EXAMPLES)
        with cluster_of(WORKERS, tmp_path_factory.mktemp("dask")) as dask:
            yield dask


@pytest.fixture
def dask_fetch(dask, monkeypatch):
    import dask_fetch  # noqa: PLC0415 - it is found since its cluster runs

    monkeypatch.setattr(dask_fetch, "PARTITION", 50)
    yield dask_fetch
    del sys.modules["dask_fetch"]


@pytest.fixture
def clients(dask, dask_fetch):
    with dask_fetch.one_client_each(dask):
        yield


@pytest.fixture
def program(dask, dask_fetch, monkeypatch, tmp_path):
    """The example as it is run, but on the cluster that is there."""
    monkeypatch.setattr(dask_fetch, "Client", lambda: nullcontext(dask))
    monkeypatch.chdir(tmp_path)
    return dask_fetch


@pytest.fixture(autouse=True)
def as_it_was(sandbox):
    key = sandbox.api_key
    sandbox.requests.clear()
    yield
    sandbox.api_key, sandbox.faults, sandbox.per_second = key, Faults(), None


def rows_of(folder):
    rows = parquet.read_table(folder).to_pylist()
    return {row["phone_id"]: row for row in rows}, len(rows)


@pytest.mark.usefixtures("clients")
def test_partitions_of_ids_go_in_and_each_id_has_a_row(
    dask, dask_fetch, sandbox, tmp_path
):
    """A server that throttles and fails costs time, and no id."""
    sandbox.per_second, sandbox.faults = 1000.0, Faults(errors=0.02, resets=0.02)
    ids = [*map(str, sandbox.phone_ids), str(NOBODYS), "not an id"]

    outcomes = dask_fetch.fetch_all(dask, ids, tmp_path / "phones")

    rows, count = rows_of(tmp_path / "phones")
    assert outcomes == {"found": 400, "missing": 1, "failed": 1}
    assert (count, rows.keys()) == (len(ids), set(ids))
    assert Counter(row["outcome"] for row in rows.values()) == outcomes
    assert "InvalidPhoneIdError" in rows["not an id"]["error"]
    first = sandbox.phone_ids[0]
    assert Phone.from_json(rows[str(first)]["record"]) == Phone.from_dict(
        sandbox.phones[first]
    )


@pytest.mark.usefixtures("clients")
def test_each_worker_process_has_one_client_for_all_its_partitions(
    dask, dask_fetch, sandbox, tmp_path
):
    dask_fetch.fetch_all(dask, [*map(str, sandbox.phone_ids)], tmp_path / "phones")

    stats = dask.run(dask_fetch.stats_of).values()

    assert len(stats) == WORKERS
    assert all(worker.found for worker in stats)
    assert sum(worker.requests for worker in stats) == len(sandbox.phones)


def test_what_is_written_is_not_asked_again(program, sandbox):
    ids = [*map(str, sandbox.phone_ids)]
    Path("phone_ids.txt").write_text("\n".join(ids), encoding="ascii")
    assert program.main() == 0
    Path("phones.parquet", "000001.parquet").unlink()
    sandbox.requests.clear()

    assert program.main() == 0

    assert {str(r.phone_id) for r in sandbox.requests} == set(ids[50:100])
    assert rows_of("phones.parquet")[1] == len(ids)


def test_a_refused_key_reaches_who_started_the_job(program, sandbox, caplog):
    """The error crosses two processes, and the key does not come along."""
    key, sandbox.api_key = sandbox.api_key, "sk-another"
    Path("phone_ids.txt").write_text(str(sandbox.phone_ids[0]), encoding="ascii")

    assert program.main() == 2

    assert "ended early: AuthenticationError" in caplog.text
    assert key not in caplog.text
    assert list(Path("phones.parquet").iterdir()) == []
