"""The client of a server: `Client`, and `AsyncClient` for programs that await. The records they give, and what they raise."""

from dolgo.client.awaited import AsyncClient
from dolgo.client.errors import ClientError, NotDolgo, TaskCancelled, TaskEnded, TaskFailed, Unanswered, WaitTimeout
from dolgo.client.options import Filters, NewTask, TaskOptions
from dolgo.client.records import Accepted, AttemptView, ErrorView, Event, LogLine, ProgressView, ReasonView, TaskView
from dolgo.client.sync import Client

__all__ = [
    "Accepted",
    "AsyncClient",
    "AttemptView",
    "Client",
    "ClientError",
    "ErrorView",
    "Event",
    "Filters",
    "LogLine",
    "NewTask",
    "NotDolgo",
    "ProgressView",
    "ReasonView",
    "TaskCancelled",
    "TaskEnded",
    "TaskFailed",
    "TaskOptions",
    "TaskView",
    "Unanswered",
    "WaitTimeout",
]
