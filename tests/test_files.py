"""The folder for files: what is told of is on disk, what failed is not kept, what nobody owns goes."""

import errno
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from jalebi import files as files_module
from jalebi.errors import StorageUnavailable
from jalebi.files import Files
from jalebi.ids import new_id


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Files]:
    files = Files(tmp_path / "files")
    files.open()
    yield files
    files.close()


async def test_a_file_and_the_folders_above_it_are_synced_before_it_is_told_of(
    folder: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files_module, "sync", lambda path: synced.append(os.path.relpath(path, folder.root)))
    job_id = new_id()
    part = job_id[-2:]
    for name in ("one", "two"):
        (folder.staging / name).write_bytes(b"content")
        await folder.adopt(folder.staging / name, job_id)
    of_job = f"jobs/{part}/{job_id}"
    assert synced == ["staging/one", ".", "jobs", f"jobs/{part}", of_job, "staging/two", f"jobs/{part}", of_job]
    synced.clear()
    async with folder.receive() as (upload_id, sink):
        sink.write(b"content")
    assert synced == [f"staging/{upload_id}", "uploads"]
    await folder.give_upload(upload_id, job_id)
    assert synced[2:] == [f"jobs/{part}", of_job, f"{of_job}/inputs"]


async def test_a_file_that_could_not_be_synced_is_not_kept(folder: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files_module, "sync", broken)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        async with folder.receive() as (_, sink):
            sink.write(b"content")
    assert not [*folder.uploads.iterdir(), *folder.staging.iterdir()]
    (folder.staging / "one").write_bytes(b"content")
    with pytest.raises(OSError, match="Input/output error"):  # never asked for again: it might seem to be there
        await folder.adopt(folder.staging / "one", new_id())


async def test_the_folders_of_jobs_that_do_not_exist_are_swept_once_they_are_old(folder: Files) -> None:
    gone, kept, young = (new_id() for _ in range(3))
    for job_id in (gone, kept, young):
        folder.inputs(job_id).mkdir(parents=True)
    (folder.root / "jobs" / "notes").mkdir()
    for job_id in (gone, kept):
        os.utime(folder.of_job(job_id), (0, 0))
    asked: list[str] = []

    async def existing(ids: Sequence[str]) -> set[str]:
        asked.extend(ids)
        return {kept}

    await folder.sweep(existing)
    assert sorted(asked) == sorted([gone, kept])
    assert [folder.of_job(job_id).exists() for job_id in (gone, kept, young)] == [False, True, True]
    assert (folder.root / "jobs" / "notes").exists()
