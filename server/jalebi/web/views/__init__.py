"""What an open page is told of: for each kind of page, which news concern it and what they change on it."""

from typing import Final

from jalebi.web.views.base import View, Word
from jalebi.web.views.listed import JobsView
from jalebi.web.views.regions import (
    ErrorsView,
    OverviewView,
    QueuesView,
    QueueView,
    SchedulesView,
    SystemView,
    WorkersView,
)
from jalebi.web.views.single import JobView

__all__ = ["VIEWS", "View", "Word"]

VIEWS: Final[dict[str, type[View]]] = {
    "plain": View,
    "overview": OverviewView,
    "jobs": JobsView,
    "job": JobView,
    "queues": QueuesView,
    "queue": QueueView,
    "errors": ErrorsView,
    "schedules": SchedulesView,
    "system": SystemView,
    "workers": WorkersView,
}
