"""The kind `images`: pictures in, pictures out, and nothing that a hostile zip could gain."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import demo_images
import pytest
from demo_images import images
from PIL import Image

from jalebi import JobContext, JobFailed, Upload
from jalebi.errors import JobStopped
from tests.examples.fake_link import FakeLink

HandIn = Callable[[bytes], Upload]


def picture(size: tuple[int, int] = (40, 30), format: str = "PNG", mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, 0).save(content, format)
    return content.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def made(link: FakeLink) -> dict[str, Image.Image]:
    with zipfile.ZipFile(io.BytesIO(link.files["images.zip"])) as archive:
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


@pytest.mark.parametrize(("format", "suffix"), [("webp", ".webp"), ("jpeg", ".jpg"), ("png", ".png")])
def test_the_samples_become_thumbnails_and_files_of_the_other_format(
    ctx: JobContext, link: FakeLink, format: str, suffix: str
) -> None:
    result = images(ctx, size=100, format=format)  # type: ignore[arg-type]
    pictures = made(link)
    assert result["images"] == 9
    assert result["skipped"] == []
    assert len(pictures) == 18
    assert all(name.endswith(suffix) and image.format == format.upper() for name, image in pictures.items())
    assert {max(image.size) for name, image in pictures.items() if name.startswith("thumbnails/")} == {100}
    assert pictures[f"converted/jalebi{suffix}"].size == (800, 600)


def test_a_photo_that_lies_on_its_side_is_put_upright(ctx: JobContext, link: FakeLink, upload: HandIn) -> None:
    lying, note = io.BytesIO(), Image.Exif()
    note[0x0112] = 6  # "turn me to the right"
    Image.new("RGB", (40, 30)).save(lying, "JPEG", exif=note)
    images(ctx, archive=upload(zipped(("phone.jpg", lying.getvalue()))))
    assert made(link)["converted/phone.webp"].size == (30, 40)


def test_a_contact_sheet_shows_them_together_and_progress_counts_them(
    ctx: JobContext, link: FakeLink, upload: HandIn
) -> None:
    images(ctx, archive=upload(zipped(*((f"{number}.png", picture((300, 200))) for number in range(5)))))
    with Image.open(io.BytesIO(link.files["contact-sheet.png"])) as sheet:
        assert (sheet.format, sheet.size) == ("PNG", (4 * 196 + 16, 2 * 196 + 16))
    assert link.positions[0] == (0, 5, None, "images")
    assert link.positions[-1] == (5, 5, "4.png", "images")


def test_what_is_clear_becomes_white_in_a_jpeg_and_stays_clear_elsewhere(
    ctx: JobContext, link: FakeLink, upload: HandIn
) -> None:
    archive = upload(zipped(("clear.png", picture(mode="RGBA"))))
    images(ctx, archive=archive, format="jpeg")
    assert made(link)["converted/clear.jpg"].getpixel((5, 5)) == (255, 255, 255)
    images(ctx, archive=archive, format="png")
    assert made(link)["converted/clear.png"].mode == "RGBA"


def test_names_in_a_zip_can_not_lead_anywhere(ctx: JobContext, link: FakeLink, upload: HandIn, tmp_path: Path) -> None:
    names = ["../../evil.png", "/etc/evil.png", "a/b/evil.gif", "C:\\evil.png", "..", "\n\x1b[2J.png"]
    archive = upload(zipped(*((name, picture()) for name in names)))
    before = set(tmp_path.rglob("*"))
    assert images(ctx, archive=archive)["images"] == 6
    assert set(tmp_path.rglob("*")) == before
    with zipfile.ZipFile(io.BytesIO(link.files["images.zip"])) as result:
        inside = [name.removeprefix("converted/") for name in result.namelist() if name.startswith("converted/")]
    assert inside == ["evil.webp", "evil-2.webp", "evil-3.webp", "C--evil.webp", "image.webp", "2J.webp"]


def test_what_is_no_image_is_skipped_with_its_reason(ctx: JobContext, link: FakeLink, upload: HandIn) -> None:
    good = picture((300, 300))
    archive = upload(
        zipped(
            ("folder/", b""),
            ("__MACOSX/._good.png", b"notes"),
            ("good.png", good),
            ("notes.txt", b"buy sugar"),
            ("torn.png", good[: len(good) // 2]),
            ("empty.jpg", b""),
        )
    )
    result = images(ctx, archive=archive)
    assert result["images"] == 1
    assert [entry["name"] for entry in result["skipped"]] == ["notes.txt", "torn.png", "empty.jpg"]
    assert "none of JPEG" in result["skipped"][0]["reason"]
    assert "damaged" in result["skipped"][1]["reason"]
    assert [level for _, level in link.lines] == ["warning"] * 3


def test_a_damaged_member_of_a_zip_is_skipped(ctx: JobContext, upload: HandIn) -> None:
    content = bytearray(zipped(("good.png", picture()), ("torn.png", picture((64, 64)))))
    content[content.rindex(b"torn.png", 0, content.index(b"PK\x01\x02")) + 12] ^= 0xFF
    result = images(ctx, archive=upload(bytes(content)))
    assert [entry["name"] for entry in result["skipped"]] == ["torn.png"]
    assert "can't be unpacked" in result["skipped"][0]["reason"]


def test_an_image_of_too_many_pixels_is_skipped_before_it_is_unpacked(
    ctx: JobContext, upload: HandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_images, "MAX_PIXELS", 1000)
    result = images(ctx, archive=upload(zipped(("large.png", picture((40, 30))), ("small.png", picture((30, 30))))))
    assert result["images"] == 1
    assert "40 x 30 pixels" in result["skipped"][0]["reason"]


def test_an_image_that_the_format_can_not_hold_is_skipped(ctx: JobContext, link: FakeLink, upload: HandIn) -> None:
    result = images(ctx, archive=upload(zipped(("wide.png", picture((17_000, 2))), ("good.png", picture()))))
    assert result["images"] == 1
    assert "can't be written as webp" in result["skipped"][0]["reason"]
    assert set(made(link)) == {"thumbnails/good.webp", "converted/good.webp"}


@pytest.mark.parametrize(
    ("limit", "value", "sentence"), [("MAX_FILES", 2, "over the limit of 2"), ("MAX_TOTAL_BYTES", 1000, "unpacked")]
)
def test_a_zip_that_holds_too_much_fails_for_good(
    ctx: JobContext, upload: HandIn, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sentence: str
) -> None:
    monkeypatch.setattr(demo_images, limit, value)
    archive = upload(zipped(*((f"{number}.bin", bytes(600)) for number in range(3))))
    with pytest.raises(JobFailed, match=sentence) as caught:
        images(ctx, archive=archive)
    assert not caught.value.retry


def test_a_file_over_the_limit_is_skipped(ctx: JobContext, upload: HandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_images, "MAX_FILE_BYTES", 500)
    result = images(ctx, archive=upload(zipped(("bomb.png", bytes(100_000)), ("good.png", picture()))))
    assert "larger than" in result["skipped"][0]["reason"]


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"not a zip", "is not a zip"), (zipped(), "no image"), (zipped(("a", b"")), "no image")]
)
def test_an_upload_without_images_fails_for_good(
    ctx: JobContext, upload: HandIn, content: bytes, sentence: str
) -> None:
    with pytest.raises(JobFailed, match=sentence) as caught:
        images(ctx, archive=upload(content))
    assert not caught.value.retry


def test_a_folder_that_does_not_exist_fails_for_good(ctx: JobContext) -> None:
    with pytest.raises(JobFailed, match="There is no folder '/no/such/folder'") as caught:
        images(ctx, folder="/no/such/folder")
    assert not caught.value.retry


def test_a_cancelled_job_stops_between_two_images(ctx: JobContext, link: FakeLink) -> None:
    link.stop_at = 3
    with pytest.raises(JobStopped):
        images(ctx)
    assert len(link.positions) == 3
    assert not link.files
