"""Who sent a request, and what that one may do."""

from __future__ import annotations

from msgspec import Struct

from dolgo.task.tokens import Scope


class Caller(Struct, frozen=True):
    """Somebody who was let in."""

    who: str  # "token/ID", "jwt/SUBJECT", "admin_token", or "anonymous"
    name: str  # for people
    scopes: frozenset[Scope]
    queues: frozenset[str] | None = None  # None: all
    types: frozenset[str] | None = None  # None: all
    rate: float | None = None  # requests a second; None: as many as it likes

    @property
    def limited(self) -> bool:
        """Whether there are tasks this one must not know of."""
        return self.queues is not None or self.types is not None

    def may(self, scope: Scope) -> bool:
        """Whether this one has the scope; who has `admin` has them all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, type: str, queue: str) -> bool:
        """Whether tasks of this type in this queue are any of this one's business."""
        return (self.types is None or type in self.types) and (self.queues is None or queue in self.queues)

    def sees_queue(self, queue: str) -> bool:
        """Whether some tasks in this queue may be."""
        return self.queues is None or queue in self.queues

    def sees_type(self, type: str) -> bool:
        """Whether some tasks of this type may be."""
        return self.types is None or type in self.types


ANYBODY = Caller("anonymous", "", frozenset({Scope.ADMIN}))  # where no credential is asked for
