"""Several processes at one port, and their parent."""

import subprocess
import sys

ADOPTS = """
import ctypes, os, signal, socket, time
from marquee.sharing import share

SUBREAPER = 36
ctypes.CDLL(None).prctl(SUBREAPER, 1)  # as the first process of a container is
share(1, socket.create_server(("127.0.0.1", 0)))
parent = os.getppid()

told, tell = os.pipe()
if os.fork() == 0:
    if orphan := os.fork():
        os.write(tell, b"%d" % orphan)
    os._exit(0)
os.wait()
orphan = int(os.read(told, 20))
end = time.monotonic() + 30
while time.monotonic() < end:
    try:
        os.kill(orphan, 0)
    except ProcessLookupError:
        break
    time.sleep(0.01)
os.kill(parent, signal.SIGTERM)
time.sleep(30)
"""

TOLD_AS_IT_BEGINS = """
import os, signal, socket, time
from marquee.sharing import Parent

class Told(Parent):
    def _fork(self, number):
        os.kill(os.getpid(), signal.SIGTERM)
        return super()._fork(number)

Told(2, socket.create_server(("127.0.0.1", 0))).run()
time.sleep(90)
"""


def test_nobody_is_begun_who_would_not_hear_that_all_are_to_stop():
    done = subprocess.run(
        [sys.executable, "-c", TOLD_AS_IT_BEGINS],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_parent_sees_orphans_off_that_are_none_of_its_own():
    done = subprocess.run(
        [sys.executable, "-c", ADOPTS], check=False, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
