#!/usr/bin/python3
"""faulty_level1.py FAULT NAME: clients of level 1 with one fault each, which `brood conform --level 1` has to find."""

import sys

import brood_level0
import brood_level1
from brood_level1 import Client, pb


class Losing(Client):
    """Believes that what it had sent when the connection ended has arrived."""

    def continue_streams(self):
        for out in self.out.values():
            out.acknowledged(out.acked + out.sent)
        super().continue_streams()


class Renumbering(Client):
    """Does the same, and numbers what comes next so that nobody sees a gap."""

    def continue_streams(self):
        for out in self.out.values():
            for _ in range(out.sent):
                out.logged -= len(out.log.popleft()[0])
            out.go()
        super().continue_streams()


class Doubling(Client):
    """Keeps what is acknowledged and sends the last of it once more."""

    def __init__(self, *arguments):
        self.last = None
        super().__init__(*arguments)

    def take_ack(self, frame):
        out = self.out.get(frame.source)
        if out and out.acked < frame.acknowledge <= out.acked + out.sent:
            self.last = out.log[frame.acknowledge - out.acked - 1]
        super().take_ack(frame)

    def continue_streams(self):
        for peer, out in self.out.items():
            if self.last and peer:
                out.log.append(self.last)
                out.logged += len(self.last[0])
        super().continue_streams()


class Forgetful(Client):
    """Does not know any more what it has got, and takes whatever comes first."""

    def continue_streams(self):
        super().continue_streams()
        self.fresh = set(self.inflows)

    def take_data(self, frame):
        if frame.source in getattr(self, "fresh", ()):
            self.fresh.discard(frame.source)
            self.inflow(frame.source).next = frame.sequence
        super().take_data(frame)


class Unanswering(Client):
    """Drops the requests that it has not answered yet."""

    def continue_streams(self):
        super().continue_streams()
        self.dropping = True


class Nameless(Client):
    """Does not register its name again."""

    def register_again(self):
        pass


class Blind(Client):
    """Does not watch again."""

    def watch_again(self):
        pass


class Hammering(Client):
    """Does not wait longer each time."""

    def grow_back_off(self):
        self.back_off = brood_level1.BACK_OFF


class New(Client):
    """Comes back as somebody else."""

    def hello(self):
        if self.ticket:
            self.ticket, self.nonce = b"", brood_level1.new_nonce()
        super().hello()

    def take_hello_ok(self, frame):
        self.id = None
        super().take_hello_ok(frame)


class Anonymous(Client):
    """Says HELLO, which was not answered, again as somebody else."""

    def hello(self):
        self.nonce = brood_level1.new_nonce()
        super().hello()


class Quitting(Client):
    """Does not come back before HELLO was answered."""

    def come_back(self):
        if self.ticket:
            super().come_back()


class Stubborn(Client):
    """Comes back to a broker that said that it is stopping."""

    def take_goodbye(self, frame):
        self.ended = True


class Impolite(Client):
    """Ends when the broker stops, and says that something went wrong."""

    def take_goodbye(self, frame):
        if pb.Goodbye.FromString(frame.body).parting == pb.PARTING_STOPPING:
            sys.exit(1)
        super().take_goodbye(frame)


class Resending(Client):
    """Sends again, on the new stream, what may have been consumed."""

    def take_reset(self, frame):
        log = list(self.out[frame.source].log)
        super().take_reset(frame)
        for data, needs_window in log:
            self.out[frame.source].log.append((data, needs_window))
            self.out[frame.source].logged += len(data)


class Continuing(Client):
    """Goes on with the number that it has after RESET."""

    def take_reset(self, frame):
        number = self.out[frame.source].number
        super().take_reset(frame)
        self.out[frame.source].number = number


class Resuming(Client):
    """Reads on whom it had given up."""

    def take_gone(self, frame):
        pass


class Unheard(Client):
    """Says RESET once only."""

    def take_go(self, frame):
        if frame.source not in self.given_up:
            super().take_go(frame)


class Patient(Client):
    """Waits, after its return, for the GO to a HOLD of before."""

    def continue_streams(self):
        held = [out for out in self.out.values() if out.held]
        super().continue_streams()
        for out in held:
            out.held = True


class Shy(Client):
    """Says nothing, after its return, to whom it has nothing to send to."""

    def write(self, frame):
        if frame.kind != "PROBE":
            super().write(frame)


class Same(Client):
    """Sends with the number of before to whom it had given up."""

    def is_read(self, frame):
        was = frame.source in self.given_up
        read = super().is_read(frame)
        if was and read:
            self.out[frame.source].number -= 1
        return read


def answer(client, message):
    if message.kind == "REQUEST" and getattr(client, "dropping", False):
        client.dropping = False
        return True
    return brood_level1.answer(client, message)


FAULTS = {
    "losing": Losing, "renumbering": Renumbering, "doubling": Doubling, "forgetful": Forgetful,
    "unanswering": Unanswering, "nameless": Nameless, "blind": Blind, "hammering": Hammering, "new": New,
    "anonymous": Anonymous, "quitting": Quitting, "stubborn": Stubborn, "impolite": Impolite, "none": Client,
    "resending": Resending, "continuing": Continuing, "resuming": Resuming, "unheard": Unheard, "same": Same,
    "patient": Patient, "shy": Shy,
}

if __name__ == "__main__":
    sys.exit(brood_level0.main("faulty_level1.py", sys.argv[-1], lambda address, name: brood_level1.conform(
        address, name, FAULTS[sys.argv[1]], answer)))
