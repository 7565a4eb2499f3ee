#!/usr/bin/python3
"""test_conform.py BROOD: `brood conform` finds each planted fault, at its check and for its reason."""

import concurrent.futures
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE_BY_SIDE = 4  # most of the time they wait for what does not come

CUT = "its connection is cut"  # what is seen of it depends on what was under way
ANY_END = CUT + "|the broker is killed|the broker is replaced"  # and whether anything was

FOUND = {
    "losing": CUT,
    "renumbering": CUT,
    "doubling": CUT,
    "forgetful": ANY_END,
    "unanswering": "requests that were open were answered",
    "nameless": "the broker is killed: it did not come back and register its name",
    "blind": "it does not notice who holds a name",
    "hammering": "it tried to connect ",
    "new": "it did not come back",
    "anonymous": "HELLO is lost: it came back as somebody else",
    "quitting": "HELLO is lost: the client ended",
    "stubborn": "it came back, although the broker is stopping",
    "impolite": "it ended with: exited with code 1",
}


PIECES = "takes frames in pieces, and several at once"
UNKNOWN = "ignores what it does not know"
KINDS = "takes kinds that want no answer"
CHANNEL = "ignores frames of another channel"
ITEMS = "ignores items that are old or early"
FD_MESSAGE = "refuses a message without its descriptors"
FD_REQUEST = "refuses a request without its descriptors"
FD_FRAGMENTS = "refuses fragments without their descriptors"
FD_REAL = "takes or refuses a descriptor, and closes it"
HOLD = "HOLD: stops for that process only"
GO = "GO: goes back to what was not acknowledged"
GONE = "GONE: goes on"
PROBE = "PROBE: says what it consumed"
ANEW = "reads a stream that begins anew"
NUMBER = "reads a stream that begins with any number"
PARTED = "RESET with sequence 0: parts, and goes on"
LEAVES = "leaves when those who are there have acknowledged"
BEGINS = "RESET: begins anew"
HELD = "comes back: HOLD is over, and all hear of it"
GIVEN_UP = "answers with RESET whom it had given up"

# fault: where it is found, and what is said of it
FOUND_LEVEL0 = {
    "cutting": (PIECES, "a frame that came byte by byte was not answered|it closed its connection"),
    "strict": (UNKNOWN, "it closed its connection without a goodbye|the client ended"),
    "stuck": (KINDS, "READY and CANCEL were not acknowledged"),
    "everywhere": (CHANNEL, "instead of the message \"here\""),
    "greedy": (ITEMS, "it took an item that was old, or item 3 before item 2"),
    "terse": (ITEMS, "an item that came again, with flag 0x01, was not acknowledged again"),
    "using": (FD_MESSAGE, "instead of saying REFUSED"),
    "hasty": (FD_MESSAGE, "before it said REFUSED"),
    "using ": (FD_REQUEST, "instead of answering FAILURE"),
    "naming_first": (FD_FRAGMENTS, "its refusal has kind 8, correlation 1 instead of 8, 2"),
    "leaking": (FD_REAL, "it keeps a descriptor open"),
    "unstoppable": (HOLD, "after HOLD it went on sending"),
    "standstill": (HOLD, "a message of another one was not answered meanwhile"),
    "forward": (GO, "after GO it did not send again"),
    "unsaid": (GO, "with nothing to send, it did not repeat its acknowledgement"),
    "lonely": (GONE, "it closed its connection without a goodbye|the client ended"),
    "unprobed": (PROBE, "PROBE: it did not acknowledge, again"),
    "once": (PROBE, "PROBE: it did not acknowledge, again"),
    "jumping": (PROBE, "a PROBE does not change what is taken next|and was another one"),
    "unaware": (ANEW, "a stream that began anew .* was not read"),
    "numberless": (ANEW, "was not acknowledged under its number"),
    "first": (NUMBER, "number 3 was not read"),
    "echoing": (PARTED, "it answered RESET with RESET"),
    "waiting": (LEAVES, "it did not say goodbye when all"),
    "rushing": (LEAVES, "it left before all that it had sent was acknowledged"),
}
FOUND_LEVEL1 = {
    "resending": (BEGINS, "it sent again what it had sent before"),
    "continuing": (BEGINS, "it went on with a stream that is over"),
    "resuming": (GIVEN_UP, "it took a message of a stream that it had given up"),
    "unheard": (GIVEN_UP, "its RESET was not repeated after GO"),
    "same": (GIVEN_UP, "it went on with a stream that is over"),
    "patient": (HELD, "it did not send to whom it had been told to hold before"),
    "shy": (HELD, "it sent no PROBE"),
    "new": (HELD, "it came back without the ticket"),
}


def conform(*client):
    return run(["--level", "1", "--resume-only"], *client)


def conform_at(level, check, fault):
    """That check alone."""
    program = os.path.join(HERE, "faulty_level%d.py" % level)
    return run(["--level", str(level), "--only", check], program, fault.strip())


def run(options, *client):
    command = [sys.argv[1], "conform"] + options + ["--", sys.executable, "-B"]
    done = subprocess.run(command + list(client), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("FAIL")]


class Conform(unittest.TestCase):
    def test_each_fault_is_found(self):
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            runs = {fault: pool.submit(conform, os.path.join(HERE, "faulty_level1.py"), fault) for fault in FOUND}
            for fault, run in runs.items():
                with self.subTest(fault):
                    status, failures = run.result()
                    self.assertEqual(status, 1)
                    self.assertEqual(len(failures), 1)
                    self.assertRegex(failures[0], FOUND[fault])

    def test_each_fault_in_what_is_seldom_said_is_found(self):
        faults = [(0,) + fault for fault in FOUND_LEVEL0.items()] + [(1,) + fault for fault in FOUND_LEVEL1.items()]
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            runs = [(fault, pool.submit(conform_at, fault[0], fault[2][0], fault[1])) for fault in faults]
            for (level, fault, (check, reason)), run in runs:
                with self.subTest(fault, level=level):
                    status, failures = run.result()
                    self.assertEqual(status, 1)
                    self.assertRegex(failures[0], "^FAIL  %s: .*(%s)" % (check, reason))

    def test_level_0_is_not_enough(self):
        status, failures = conform(os.path.join(HERE, "brood_level0.py"))
        self.assertEqual(status, 1)
        self.assertIn("comes back: the answer to its first HELLO is lost", failures[0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
