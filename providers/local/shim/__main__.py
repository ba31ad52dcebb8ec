"""Started as `python -I -S __main__.py FOLDER LOCK_FD READY_FD`."""

import os
import sys

if __name__ == "__main__":
    # Isolated mode knows only the standard library; last, so that nothing can shadow that.
    up = os.path.dirname
    sys.path.append(up(up(up(up(os.path.abspath(__file__))))))
    from providers.local.shim.run import main

    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
