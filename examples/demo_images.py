"""The kind `images`: thumbnails, conversions and a contact sheet of a folder or an uploaded zip of images."""

import io
import warnings
import zipfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from demo_input import DATA
from pydantic import Field

from jalebi import JobContext, JobFailed, Upload

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FILES: Final = 500
MAX_FILE_BYTES: Final = 32 * 1024 * 1024
#: Of all files of a zip together, unpacked: a small zip can hold a great deal of nothing.
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
#: Pillow knows many more, some of them old and seldom looked after.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES: Final = {"webp": ".webp", "jpeg": ".jpg", "png": ".png"}
SHEET_COLUMNS, SHEET_CELL, SHEET_MOST = 4, 180, 48


class Skipped(Exception):
    """This one file can't be used; the message says why. The others go on."""


@dataclass
class Made:
    """What the job has made so far."""

    images: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    small: list["Image"] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def name(self, source: str, suffix: str) -> str:
        """Return a name for the result that no other image has: a.jpg and a.png would both become a.webp."""
        stem = "".join(char if char.isalnum() or char in "-_." else "-" for char in PurePosixPath(source).stem)
        stem, number = stem[:80].strip(".-") or "image", 1
        name = f"{stem}{suffix}"
        while name.lower() in self.names:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self.names.add(name.lower())
        return name


def images(
    ctx: JobContext,
    folder: Annotated[
        str, Field(description="Path of a folder of images, on the server. Empty: the sample images.")
    ] = "",
    archive: Annotated[Upload | None, Field(description="Or a zip of images; it wins over the folder.")] = None,
    size: Annotated[int, Field(description="Longest edge of a thumbnail, in pixels.", ge=16, le=2048)] = 320,
    format: Annotated[Literal["webp", "jpeg", "png"], Field(description="What the images become.")] = "webp",
) -> dict[str, Any]:
    """Make thumbnails and convert images.

    Takes the images of a folder or of a zip, and gives back `images.zip` with every one of them twice, as a
    thumbnail and converted in full size, and `contact-sheet.png`. Files that are no images are skipped, each with
    its reason.
    """
    made = Made()
    with TemporaryDirectory(prefix="jalebi-images-") as place:
        result = Path(place) / "images.zip"
        with closing(_open_source(folder, archive)) as source, zipfile.ZipFile(result, "w") as target:
            _make_all(ctx, source, target, made, size, format)
        if not made.images:
            raise JobFailed("There is no image among the files that can be read; the log has the reasons.", retry=False)
        ctx.attach(result, "images.zip", "application/zip")
    ctx.attach(contact_sheet(made.small), "contact-sheet.png", "image/png")
    return {
        "images": made.images,
        "format": format,
        "bytes_in": made.bytes_in,
        "bytes_out": made.bytes_out,
        "skipped": made.skipped,
    }


class Source:
    """Files to be read one after the other: (name, content), bounded in number and in size."""

    def __init__(self, names: list[str]) -> None:
        if len(names) > MAX_FILES:
            raise JobFailed(f"There are {len(names)} files, over the limit of {MAX_FILES}.", retry=False)
        self.names = names

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises Skipped."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is open."""


class FolderSource(Source):
    """The files right inside a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise JobFailed(f"There is no folder {str(folder)!r} on the server.", retry=False)
        self._folder = folder
        super().__init__(sorted(path.name for path in folder.iterdir() if path.is_file()))

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises Skipped."""
        try:
            with (self._folder / name).open("rb") as file:
                return _bounded(file.read(MAX_FILE_BYTES + 1))
        except OSError as error:
            raise Skipped(f"it can't be read: {error.strerror}") from error


class ZipSource(Source):
    """The files of a zip, read from memory: nothing is unpacked to a path that the zip names."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise JobFailed(f"The upload is not a zip: {error}.", retry=False) from error
        self._left = MAX_TOTAL_BYTES
        # By place and not by name: a zip may hold two files of one name.
        self._members = {f"{n}/{info.filename}": info for n, info in enumerate(self._zip.infolist())}
        # A Mac puts its own notes about the files beside them.
        ours = {name: info for name, info in self._members.items() if not info.filename.startswith("__MACOSX/")}
        super().__init__([name for name, info in ours.items() if not info.is_dir()])

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises Skipped, and JobFailed where the zip is larger inside than is allowed."""
        try:
            with self._zip.open(self._members[name]) as file:
                # Counted while it is unpacked: the sizes that a zip claims need not be true.
                content = file.read(MAX_FILE_BYTES + 1)
        except Exception as error:  # a password, an unknown packing, and whatever broken bytes bring about
            raise Skipped(f"it can't be unpacked: {error}") from error
        self._left -= len(content)
        if self._left < 0:
            raise JobFailed(f"The zip holds over {MAX_TOTAL_BYTES // 1024**2} MiB when unpacked.", retry=False)
        return _bounded(content)

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


def _open_source(folder: str, archive: Upload | None) -> Source:
    if archive is not None:
        return ZipSource(archive.path)
    return FolderSource(Path(folder).expanduser() if folder else DATA / "images")


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise Skipped(f"it is larger than {MAX_FILE_BYTES // 1024**2} MiB")
    return content


def _make_all(ctx: JobContext, source: Source, target: zipfile.ZipFile, made: Made, size: int, format: str) -> None:
    total = len(source.names)
    ctx.progress(0, total, None, "images")
    for done, key in enumerate(source.names, start=1):
        ctx.raise_if_cancelled()
        # Names in a zip can be very long.
        name = PurePosixPath(key).name[-120:]
        try:
            thumbnail, converted = _make_one(source.read(key), made, size, format)
            result = made.name(name, SUFFIXES[format])
            target.writestr(f"thumbnails/{result}", thumbnail)
            target.writestr(f"converted/{result}", converted)
        except Skipped as reason:
            made.skipped.append({"name": name, "reason": str(reason)})
            ctx.log(f"{name} is skipped: {reason}.", "warning")
        ctx.progress(done, total, name, "images")


def _make_one(content: bytes, made: Made, size: int, format: str) -> tuple[bytes, bytes]:
    """Return what one image becomes: its thumbnail, and itself in the other format. Raises Skipped."""
    picture = decoded(content)
    thumbnail = picture.copy()
    thumbnail.thumbnail((size, size))
    results = encoded(thumbnail, format), encoded(picture, format)
    made.images += 1
    made.bytes_in += len(content)
    made.bytes_out += sum(map(len, results))
    if len(made.small) < SHEET_MOST:
        thumbnail.thumbnail((SHEET_CELL, SHEET_CELL))
        made.small.append(thumbnail)
    return results


def decoded(content: bytes) -> "Image":
    """Return the image, upright and in RGB or RGBA. Raises Skipped."""
    # Here and not above: every process that runs any kind imports this module, and few of them draw.
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
            # Known from its head already, before the pixels take any memory.
            if picture.width * picture.height > MAX_PIXELS:
                raise Skipped(f"it has {picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,} together")
            picture = ImageOps.exif_transpose(picture)
            clear = picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info
            return picture.convert("RGBA" if clear else "RGB")
    except Skipped:
        raise
    except UnidentifiedImageError:
        raise Skipped(f"it is none of {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Skipped(f"it has more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # decoders raise whatever broken bytes bring about
        raise Skipped(f"it is damaged: {error}") from error


def encoded(picture: "Image", format: str) -> bytes:
    """Return the image as a file of that format."""
    if format == "jpeg" and picture.mode == "RGBA":
        picture = _on_white(picture)
    content = io.BytesIO()
    try:
        picture.save(content, format.upper(), **({} if format == "png" else {"quality": 82}))
    except (OSError, ValueError) as error:
        # WebP for one holds at most 16,383 pixels in a row.
        raise Skipped(f"it can't be written as {format}: {error}") from error
    return content.getvalue()


def _on_white(picture: "Image") -> "Image":
    from PIL import Image

    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def contact_sheet(pictures: list["Image"]) -> bytes:
    """Return a PNG that shows the small pictures side by side."""
    from PIL import Image

    step = SHEET_CELL + 16
    rows = -(-len(pictures) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (min(len(pictures), SHEET_COLUMNS) * step + 16, rows * step + 16), (252, 243, 228))
    for place, picture in enumerate(pictures):
        row, column = divmod(place, SHEET_COLUMNS)
        left = 16 + column * step + (SHEET_CELL - picture.width) // 2
        top = 16 + row * step + (SHEET_CELL - picture.height) // 2
        sheet.paste(picture, (left, top), picture if picture.mode == "RGBA" else None)
    return encoded(sheet, "png")
