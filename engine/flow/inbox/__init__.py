"""A pool's inbox: its rules, which the model goes by too, and the two ends of it."""

from engine.flow.inbox.ends import Closed, Inbox, InboxStatistics, Inlet, Outlet
from engine.flow.inbox.rules import InboxState

__all__ = ["Closed", "Inbox", "InboxState", "InboxStatistics", "Inlet", "Outlet"]
