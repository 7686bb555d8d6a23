"""A link that remembers what a job reports, for calling a kind's function without a server."""

from pathlib import Path


class FakeLink:
    """Implements `jalebi.context.Link`; asks the job to stop once it has reported `stop_at` positions."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.positions: list[tuple[float, float | None, str | None, str | None]] = []
        self.lines: list[tuple[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.stop_at = stop_at
        self._folder = folder

    @property
    def cancelled(self) -> bool:
        return self.stop_at is not None and len(self.positions) >= self.stop_at

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        self.positions.append((done, total, message, unit))

    def log(self, message: str, level: str) -> None:
        self.lines.append((message, level))

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        self.files[name] = source if isinstance(source, bytes) else source.read_bytes()

    def acknowledge(self) -> None:
        """Take that the job has heard."""

    def inputs(self) -> Path:
        return self._folder
