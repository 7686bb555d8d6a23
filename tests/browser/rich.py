"""Kinds with parameters of every sort, for the tests of forms."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr

from jalebi import Jalebi
from jalebi.context import Upload

shop = Jalebi()


class Address(BaseModel):
    street: str = Field(description="With the number.")
    city: str = "Jodhpur"


class Box(BaseModel):
    weight: Annotated[int, Field(ge=1, le=50)]
    to: list[Address] = []


class Truck(BaseModel):
    by: Literal["truck"] = "truck"
    plate: str


class Ship(BaseModel):
    by: Literal["ship"] = "ship"
    port: str = "Kandla"


@shop.job
async def deliver(
    title: Annotated[str, Field(description="What is delivered.", min_length=3)],
    sender: Address,
    way: Annotated[Truck | Ship, Field(discriminator="by")],
    boxes: list[Box] = [],  # noqa: B006
    *,
    speed: Literal["slow", "fast"],
    wrap: Literal["paper", "cloth"] | None = "paper",
    colour: Literal["red", "blue", "green", "white", "black"] = "red",
    extras: list[Literal["bow", "card", "ice"]] = ["bow"],  # noqa: B006
    prices: dict[str, int] = {},  # noqa: B006
    insured: Address | None = None,
    size: tuple[int, int] = (3, 4),
    until: datetime | None = None,
    wait: timedelta = timedelta(minutes=5),
    code: SecretStr | None = None,
    more: Any = None,
    photo: Upload | None = None,
) -> dict[str, Any]:
    """Deliver boxes."""
    return {"title": title, "boxes": [box.model_dump() for box in boxes], "way": way.model_dump()}


@shop.job
async def names(
    submit: str = "a",
    constructor: str = "b",
    action: str = "c",
    append: str = "d",
    boxes: list[Box] = [],  # noqa: B006
    **others: Any,
) -> dict[str, Any]:
    """Take names that mean something to a browser."""
    return {"submit": submit, "constructor": constructor, "action": action, "append": append, **others}
