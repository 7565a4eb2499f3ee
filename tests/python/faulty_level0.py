#!/usr/bin/python3
"""faulty_level0.py FAULT NAME: clients of level 0 with one fault each in what is seldom said to a client, which
`brood conform` has to find."""

import array
import socket
import sys
import time

import brood_level0
from brood_level0 import Client, Frame


class Cutting(Client):
    """Believes that what one read brings are whole frames."""

    def read(self):
        super().read()
        self.received.clear()


class Strict(Client):
    """Ends when it hears of somebody it does not know."""

    def take_hold(self, frame):
        if frame.source not in self.out:
            raise brood_level0.Malformed("HOLD of a stranger")
        super().take_hold(frame)


class Everywhere(Client):
    """Does not look at the channel."""

    def is_read(self, frame):
        return self.inflow(frame.source).is_read(frame.stream >> 28)


class Greedy(Client):
    """Takes whatever comes next."""

    def take_data(self, frame):
        self.inflow(frame.source).next = frame.sequence
        super().take_data(frame)


class Terse(Client):
    """Says nothing of what it has acknowledged before."""

    def take_data(self, frame):
        told = self.inflow(frame.source).told
        super().take_data(frame)
        self.inflow(frame.source).told = told


class Hasty(Client):
    """Acknowledges what it has taken, and handles it later."""

    def take_data(self, frame):
        super().take_data(frame)
        inflow = self.inflow(frame.source)
        self.write(Frame("ACK", destination=frame.source, acknowledge=inflow.next - 1))
        inflow.told = inflow.next - 1


class Leaking(Client):
    """Takes descriptors, and closes none."""

    def read(self):
        kept = array.array("i")
        data, ancillary, _, _ = self.socket.recvmsg(256 * 1024, socket.CMSG_SPACE(16 * kept.itemsize))
        for _, _, bytes_ in ancillary:
            kept.frombytes(bytes_)
        self.kept = getattr(self, "kept", []) + list(kept)
        self.received += data
        self.ended = not data
        at = 0
        while True:
            frame, at = brood_level0.decode_frame(self.received, at)
            if frame is None:
                break
            self.take(frame)
        del self.received[:at]


class Unstoppable(Client):
    """Does not know HOLD."""

    def take_hold(self, frame):
        pass


class Standstill(Client):
    """Stops for everybody."""

    def take_hold(self, frame):
        for peer in self.inflows:
            self.outflow(peer).held = True
        self.still = True

    def take_go(self, frame):
        self.still = False
        for out in self.out.values():
            out.held = False
        super().take_go(frame)

    def outflow(self, destination):
        out = super().outflow(destination)
        out.held = out.held or getattr(self, "still", False)
        return out


class Forward(Client):
    """Goes on after GO where it stopped."""

    def take_go(self, frame):
        self.outflow(frame.source).held = False
        if frame.source in self.inflows:
            self.inflows[frame.source].ask(0)


class Unsaid(Client):
    """Does not repeat its acknowledgement after GO."""

    def take_go(self, frame):
        self.outflow(frame.source).go()


class Lonely(Client):
    """Takes the end of somebody for its own."""

    def take_gone(self, frame):
        sys.exit(1)


class Unprobed(Client):
    """Does not know PROBE."""

    def take_probe(self, frame):
        pass


class Once(Client):
    """Does not say again what it said."""

    def take_probe(self, frame):
        inflow = self.inflow(frame.source)
        inflow.asked = max(inflow.asked, frame.sequence - 1)


class Jumping(Client):
    """Believes that PROBE says what to take next."""

    def take_probe(self, frame):
        super().take_probe(frame)
        self.inflow(frame.source).next = frame.sequence


class Unaware(Client):
    """Does not know that a stream may begin anew."""

    def is_read(self, frame):
        return not frame.stream & brood_level0.CHANNEL


class Numberless(Client):
    """Reads a stream that began anew, and acknowledges the one before."""

    def stream(self, peer):
        return 0


class First(Client):
    """Expects the number 0 of who writes for the first time."""

    def inflow(self, source):
        inflow = super().inflow(source)
        inflow.number = inflow.number or 0
        return inflow

    def is_read(self, frame):
        return frame.stream >> 28 < 2 and super().is_read(frame)


class Echoing(Client):
    """Answers RESET with RESET."""

    def take_reset(self, frame):
        super().take_reset(frame)
        self.write(Frame("RESET", destination=frame.source))


class Waiting(Client):
    """Waits for acknowledgements of who is gone."""

    def part(self, source, why):
        self.gone[source] = why


class Rushing(Client):
    """Leaves without waiting for acknowledgements."""

    def leave(self, timeout=10.0):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            self.turn(0.05)
        self.out.clear()
        super().leave(timeout)


def using(client, message):
    """Does not look for tag 4."""
    return brood_level0.answer(client, message._replace(fds=0))


def naming_first(client, message):
    """Names the first item of a message that it refuses."""
    if message.fds and message.kind == "MESSAGE" and message.sequence > 1:
        message = message._replace(sequence=message.sequence - 1)
    return brood_level0.answer(client, message)


def stuck(client, message):
    """Waits for a handler of kinds that have none."""
    return message.kind not in ("READY", "CANCEL") and brood_level0.answer(client, message)


FAULTS = {
    "cutting": Cutting, "strict": Strict, "everywhere": Everywhere, "greedy": Greedy, "terse": Terse, "hasty": Hasty,
    "leaking": Leaking, "unstoppable": Unstoppable, "standstill": Standstill, "forward": Forward, "unsaid": Unsaid,
    "lonely": Lonely, "unprobed": Unprobed, "once": Once, "jumping": Jumping, "unaware": Unaware,
    "numberless": Numberless, "first": First, "echoing": Echoing, "waiting": Waiting, "rushing": Rushing,
}
ANSWERS = {"using": using, "naming_first": naming_first, "stuck": stuck}

if __name__ == "__main__":
    fault = sys.argv[1]
    sys.exit(brood_level0.main("faulty_level0.py", sys.argv[-1], lambda address, name: brood_level0.conform(
        address, name, FAULTS.get(fault, Client), ANSWERS.get(fault, brood_level0.answer))))
