"""Show a running study: one live line on a terminal, and a line for each trial that ended."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from edge.measuring.status import DevicePhase, DeviceStatus, ignore


class _Left(ProgressColumn):
    """The time left of the budget, also between two phases; nothing where there is no budget."""

    def render(self, task: Task) -> Text:
        """Return minutes and seconds."""
        minutes, seconds = divmod(int(max(0.0, (task.total or 0.0) - (task.elapsed or 0.0))), 60)
        return Text(f"{minutes}:{seconds:02} left" if task.total else "")


class Progress:
    """Show trial, phase, epoch, the best so far and the time left of the budget; use it in a `with`.

    minutes: the budget; 0: none.
    """

    def __init__(self, console: Console, minutes: float) -> None:
        self.console = console
        self._best = ""
        self._phase = "starting"
        self._trial = ""
        self._on_status: Callable[[DeviceStatus], object] = ignore
        self._seconds = minutes * 60
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            _Left(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, best=self._best)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self) -> None:
        """Start the clock of the budget."""
        self._best = "best: none yet"
        self._bar.reset(self._task, total=self._seconds)

    def end(self) -> None:
        """Show that the budget is spent; what follows has no time limit."""
        self._trial = ""
        self._bar.update(self._task, total=0)

    def trial(self, number: int, on_status: Callable[[DeviceStatus], object] = ignore) -> None:
        """Begin trial `number`; `on_status` hears what the device does for it."""
        self._trial = f"trial {number}"
        self._on_status = on_status
        self.phase("choosing")

    def phase(self, phase: str) -> None:
        """Show what the host does now; the device is not waited for any more."""
        self.device(DeviceStatus(DevicePhase.READY, phase))

    def device(self, status: DeviceStatus) -> None:
        """Show what the device does now, and report it to the trial."""
        self._phase = status.text
        self._on_status(status)
        self._show()

    def best(self, best: str) -> None:
        """Show the best candidate so far, in a few words."""
        self._best = f"best: {best}"
        self._show()

    def line(self, text: str) -> None:
        """Print a line that stays."""
        # stdout may be closed, because the parent died. rich then raises SystemExit; keep working.
        with suppress(SystemExit):
            self.console.print(text, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        self._bar.update(
            self._task,
            completed=min(self._bar.tasks[0].elapsed or 0.0, self._seconds),
            description=f"{self._trial} · {self._phase}" if self._trial else self._phase,
            best=self._best,
        )
