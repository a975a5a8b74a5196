"""What the weaver would do now, as lines for a person; looks at the machine and changes nothing."""

from __future__ import annotations

from realm.core.paths import Paths
from realm.weaver.orphans import find_orphans
from realm.weaver.ports import holder_of
from realm.weaver.services import Service
from realm.weaver.states import State
from realm.weaver.tapestry import Strand, read_rows, read_tapestry, weaver_pid


def intentions(paths: Paths, services: list[Service]) -> list[str]:
    """Return the actions `realm weaver` would take, in order."""
    holder = weaver_pid(paths)
    if holder is not None:
        return _mends(holder, read_tapestry(paths, services))
    orphans = find_orphans(paths, [row.instance for row in read_rows(paths)])
    lines = [f"would end process {process.pid}, left over from an earlier weaver" for process in orphans]
    left = {process.pid for process in orphans}
    return [*lines, "would start a weaver in the background", *(_start(service, left) for service in services)]


def _mends(holder: int, strands: list[Strand]) -> list[str]:
    broken = [strand for strand in strands if strand.state in (State.FALLEN, State.BACKOFF)]
    if not broken:
        return [f"weaver runs as process {holder}; nothing to mend"]
    return [f"would start {strand.service} again ({strand.state}: {strand.reason})" for strand in broken]


def _start(service: Service, leftovers: set[int]) -> str:
    if service.external:
        return f"would watch {service.name} on port {service.port}; it is not started by this realm"
    line = f"would start {service.name}: {' '.join(service.argv)}"
    holder = holder_of(service.port) if service.port is not None else ""
    if holder and not any(f"process {pid}," in holder for pid in leftovers):
        return f"{line} -- but port {service.port} is taken by {holder}"
    return f"{line} (port {service.port})" if service.port is not None else line
