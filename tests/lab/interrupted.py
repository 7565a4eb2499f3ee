"""interrupted.py: a lab that is interrupted, terminated or killed leaves nothing: no process, network, namespace, mount."""
import os
import signal
import subprocess
import sys
import time

import run


def end_by(number):
    """Complaints about what is left when a lab, in the middle of its work, gets this signal."""
    mark = f"interrupted.{os.getpid()}.{number}"
    before = run.surroundings(mark)
    lab = subprocess.Popen([sys.executable, os.path.join(run.HERE, "run.py"), "client.messages"], stdout=subprocess.PIPE,
                           env={**os.environ, "BROOD_LAB": mark})
    lab.stdout.readline()
    end = time.monotonic() + 30
    while not any("crew" in each for each in run.ours(mark)):
        assert time.monotonic() < end and lab.poll() is None, "the lab does not begin"
        time.sleep(0.05)
    lab.send_signal(number)
    lab.communicate()
    if lab.returncode == 0:
        yield f"signal {number}: it says that it passed"
    while (changed := run.surroundings(mark) ^ before) and time.monotonic() < end:
        time.sleep(0.1)
    yield from (f"signal {number} leaves {each}" for each in sorted(changed))


def main():
    reason = run.reason_to_skip()
    if reason:
        print(f"skipped: {reason}")
        return run.SKIPPED
    found = [each for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL) for each in end_by(number)]
    print("\n".join(found))
    return 1 if found else 0


sys.exit(main())
