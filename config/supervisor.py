"""gunicorn's main process, except that a reload loses nothing, and that it stops when the process that started it dies.

Run as `python -m config.supervisor`, with gunicorn's options. It imports nothing of the site (see `config.server`).
"""

import os
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter


class Supervisor(Arbiter):
    """After a reload, the old workers serve until as many new ones do, however long the new code takes to start."""

    log: Any

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.started_by = os.getppid()
        # Workers up to this age have the code from before the last reload.
        self.outdated_age = 0
        self.is_reloading = False

    def reload(self) -> None:
        self.outdated_age = self.worker_age
        self.is_reloading = True
        try:
            super().reload()
        finally:
            self.is_reloading = False

    def reap_workers(self) -> None:
        super().reap_workers()
        # A reload ends with a wait for the old workers, in which gunicorn does nothing else.
        if self.is_reloading:
            self.manage_workers()

    def manage_workers(self) -> None:
        if os.getppid() != self.started_by:
            self.log.warning("The process that started the server is gone, so the server stops")
            raise StopIteration
        new: list[Any] = [worker for worker in self.WORKERS.values() if worker.age > self.outdated_age]
        is_replacing = len(new) < len(self.WORKERS)
        if is_replacing and not (len(new) >= self.num_workers and all(worker.serves[0] for worker in new)):
            for _ in range(self.num_workers - len(new)):
                self.spawn_worker()
            return
        super().manage_workers()


class Application(WSGIApplication):
    def run(self) -> None:
        Supervisor(self).run()


if __name__ == "__main__":
    Application().run()
