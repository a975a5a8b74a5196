"""torchrun in this process, ending as the battle ended: by itself it calls every end by a signal a failure."""

from __future__ import annotations

import os
from pathlib import Path

from realm.core.durable import write_text

ENDED = "REALM_BATTLE_ENDED"  # the file in which the leading process says that it saved and left


def tell_end() -> None:
    """Say that the battle was left in good order, where torchrun started it."""
    if ENDED in os.environ:
        write_text(Path(os.environ[ENDED]), "left\n")


def main() -> None:
    """Run torchrun with this process's arguments; an end by a signal is a good one when the leading process said so."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.run import main as torchrun

    try:
        torchrun()
    except SignalException:
        if not Path(os.environ[ENDED]).is_file():
            raise


if __name__ == "__main__":
    main()
