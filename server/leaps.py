"""Whether this machine's wall clock leapt while a server ran, by the boot clock, which does not. What was seen outlives the process, in `leaps.json`.

Between two processes there is nothing to compare: time off is counted by the wall clock alone. What that leaps while nobody runs, the archive's witnesses
tell (`archiver/expire/lived.py`).
"""

from __future__ import annotations

import msgspec

from scrubjay.archiver.expire.plan import KEEP_MAX_US
from scrubjay.base.env import Clock, Disk, Tasks, Timer
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.times import utc_text

NOTE = "leaps.json"
"""Below the data folder."""
LOOK_S = 300.0
"""Between two looks of a server at rest: a leap that is followed by a stop within so long may go unseen."""
LEAP_US = 60_000_000
"""So much more or less than the time that passed between two looks the wall clock may have gone on."""
SETTLE_US = 20 * 3_600_000_000
"""For so long after a leap was seen nothing is taken away: whoever looks after the machine has a day, and the run of the next night goes on by itself."""


class LeapNote(msgspec.Struct, frozen=True):
    """leap_us: the last one. ahead_us: all of those that still make things seem older, or younger. seen_us: wall time behind the last one."""

    leap_us: int
    ahead_us: int
    seen_us: int


class LeapWatch:
    """`look()` now and then, and before anything is called old. A leap is dated by the look that sees it: later than it was, never earlier.

    disk: rooted at the data folder, remembers what was seen; None: nothing is remembered.
    """

    def __init__(self, clock: Clock, disk: Disk | None = None) -> None:
        self._clock, self._disk = clock, disk
        self._last = (clock.wall_us(), clock.boot_us())
        self._ahead_us, self._leap_us = 0, 0
        self._seen: tuple[int, int] | None = None
        """Wall and boot time of the look that saw the last leap; of one before this process began the boot time is what it would have been."""
        self._kept: LeapNote | None = None
        self._timer: Timer | None = None
        try:
            data = None if disk is None else disk.read_file(NOTE)
        except ScrubjayError:
            data = b""
        if data is not None:
            self._remember(data)

    def _remember(self, data: bytes) -> None:
        """A note that cannot be read was of some leap: it is doubted as if it were seen now."""
        wall_us, boot_us = self._last
        try:
            note = msgspec.json.decode(data, type=LeapNote)
        except msgspec.MsgspecError:
            note = LeapNote(0, 0, wall_us)
        else:
            self._kept = note
        # Seen later than now: the clock was set back while nobody ran. Then it is not known how long ago that was.
        passed_us = max(0, wall_us - note.seen_us)
        self._leap_us, self._ahead_us, self._seen = note.leap_us, note.ahead_us, (wall_us - passed_us, boot_us - passed_us)

    def begin(self, tasks: Tasks) -> None:
        """Look every LOOK_S from now on: a leap between two runs is known to whoever comes after a restart."""
        self.look()
        self._timer = tasks.call_later(LOOK_S, lambda: self.begin(tasks))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        wall_us, boot_us = self._clock.wall_us(), self._clock.boot_us()
        leap_us = (wall_us - self._last[0]) - (boot_us - self._last[1])
        self._last = (wall_us, boot_us)
        if self._seen is not None and boot_us - self._seen[1] > KEEP_MAX_US:
            self._seen, self._ahead_us = None, 0  # what was dated before it has left every window
        if abs(leap_us) > LEAP_US:
            self._leap_us, self._ahead_us, self._seen = leap_us, self._ahead_us + leap_us, (wall_us, boot_us)
        self._keep()

    def _keep(self) -> None:
        """What cannot be written now is by the next look: until then this process knows it."""
        note = None if self._seen is None else LeapNote(self._leap_us, self._ahead_us, self._seen[0])
        if self._disk is None or note == self._kept:
            return
        try:
            if note is None:
                self._disk.remove(NOTE)
                self._disk.sync_dir("")
            else:
                self._disk.write_file(NOTE, msgspec.json.encode(note))
        except ScrubjayError:
            return
        self._kept = note

    @property
    def ahead_us(self) -> int:
        """So much older than it is what was dated before the leaps seems by now; until all of that has left every window."""
        return max(0, self._ahead_us)

    @property
    def doubt(self) -> str | None:
        """Why nothing may be called old for now, and until when; None: nothing speaks against the clock."""
        if self._seen is None or self._clock.boot_us() - self._seen[1] >= SETTLE_US:
            return None
        wall_us = self._seen[0]
        return (
            f"this machine's clock leapt by {self._leap_us / 1e6:+.0f} s, as was seen at {utc_text(wall_us)}: until {utc_text(wall_us + SETTLE_US)}"
            " nothing is called old"
        )
