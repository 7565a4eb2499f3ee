#!/usr/bin/python3
"""A client of level 1 for brood's wire, written from proto/README.md alone: what level 0 does, and it comes back.

As a module: a Client that outlives its connection. As a program: the client that
`brood conform --level 1 -- python3 brood_level1.py` tests.
"""

import random
import sys
import time

import brood_level0
from brood_level0 import CHANNEL, Frame, Outflow, Refused, is_newer, pb

BACK_OFF = 0.005
BACK_OFF_MOST = 1.0


def new_nonce():
    """0 is none."""
    return random.SystemRandom().randrange(1, 1 << 64)


class Client(brood_level0.Client):
    """A process. Its connection may end at any byte; turn() makes another one, and nobody else notices."""

    LEVEL = 1

    def __init__(self, address, title="brood_level1"):
        self.ticket = b""
        self.nonce = new_nonce()
        self.back_off = BACK_OFF
        self.leaving = False
        self.wanted, self.watched = set(), set()
        self.given_up = {}  # id: number of my last stream to it
        super().__init__(address, title)

    # -- losing and finding the connection

    def turn(self, timeout):
        super().turn(timeout)
        if self.ended and not self.leaving and not self.stopping:
            self.come_back()

    def come_back(self):
        """Connect again, however long that takes, and say everything again without waiting for answers."""
        self.selector.close()
        self.socket.close()
        while True:
            time.sleep(self.back_off * random.uniform(0.5, 1))
            self.grow_back_off()
            try:
                self.connect()
                break
            except (ConnectionError, FileNotFoundError, BlockingIOError):
                self.socket.close()  # nobody listens
        self.hello()
        self.register_again()
        self.watch_again()
        self.continue_streams()

    def hello(self):
        """Who comes back shows his ticket; if HELLO_OK, which brings it, was lost, the nonce tells who said HELLO before."""
        super().hello(**({"ticket": self.ticket} if self.ticket else {"nonce": self.nonce}))

    def grow_back_off(self):
        """Until HELLO_OK: to have been connected means nothing."""
        self.back_off = min(2 * self.back_off, BACK_OFF_MOST)

    def register_again(self):
        for name in self.wanted:
            self.write(Frame("REGISTER", body=pb.Register(name=name).SerializeToString()))

    def watch_again(self):
        for name in self.watched:
            self.write(Frame("WATCH", body=pb.Watch(name=name).SerializeToString()))

    def continue_streams(self):
        """As after GO from everybody. Who hears nothing else from us gets a PROBE: a new broker knows of nobody who
        belongs together, so it could not tell us of his end."""
        for peer in set(self.out) | set(self.inflows):
            if peer in self.gone or peer == 0:
                continue
            out = self.outflow(peer)
            out.go()
            if not out.log:
                self.write(Frame("PROBE", destination=peer, stream=self.stream(peer), sequence=out.acked + 1))
            if peer in self.inflows:
                self.inflows[peer].ask(0)
        if 0 in self.out:
            self.out[0].go()

    # -- frames

    def take_hello_ok(self, frame):
        ok = pb.HelloOk.FromString(frame.body)
        if self.id not in (None, ok.id):
            raise Refused("the broker does not know this process any more")
        self.id = ok.id
        self.ticket = ok.ticket
        self.back_off = BACK_OFF

    def take_goodbye(self, frame):
        if pb.Goodbye.FromString(frame.body).parting == pb.PARTING_RESTARTING:
            self.ended = True  # whatever else comes on this connection, comes again
        else:
            super().take_goodbye(frame)

    # -- who was given up, and returns

    def take_gone(self, frame):
        gone = pb.Gone.FromString(frame.body)
        if gone.id not in self.gone and gone.why not in (pb.WHY_LEFT, pb.WHY_EXITED):
            self.given_up[gone.id] = self.out[gone.id].number if gone.id in self.out else 0
        super().take_gone(frame)

    def is_read(self, frame):
        """Of who was given up only a stream that began anew is read."""
        peer = frame.source
        if peer not in self.given_up:
            return super().is_read(frame)
        if frame.stream & CHANNEL:
            return False
        if not is_newer(frame.stream >> 28, self.inflow(peer).number or 0):
            self.write_reset(peer)
            return False
        self.gone.pop(peer, None)
        self.out[peer] = Outflow((self.given_up.pop(peer) + 1) % 16)
        return super().is_read(frame)

    def write_reset(self, peer):
        inflow = self.inflow(peer)
        self.write(Frame("RESET", destination=peer, stream=self.given_up[peer] << 28 | (inflow.number or 0) << 24,
                         sequence=inflow.next, acknowledge=inflow.consumed))

    def take_go(self, frame):
        if frame.source in self.given_up:
            self.write_reset(frame.source)  # it may not have been heard
        else:
            super().take_go(frame)

    def take_reset(self, frame):
        """It gave me up, or parts with me. What it has not acknowledged is lost, as far as I know; a program hears that."""
        if frame.sequence == 0:
            super().take_reset(frame)
        elif self.is_about_mine(frame):
            out = self.out[frame.source]
            out.acknowledged(frame.acknowledge)
            self.out[frame.source] = Outflow((out.number + 1) % 16)

    # -- what a program does

    def register(self, name):
        self.wanted.add(name)
        try:
            super().register(name)
        except Refused:
            self.wanted.discard(name)
            raise

    def watch(self, name):
        if name not in self.watched:
            self.watched.add(name)
            self.write(Frame("WATCH", body=pb.Watch(name=name).SerializeToString()))

    def find(self, name, timeout=10.0):
        self.watch(name)
        self.wait(lambda: self.names.get(name, 0) != 0, timeout)
        return self.names[name]

    def leave(self, timeout=10.0):
        self.wait(lambda: not any(out.log for out in self.out.values()), timeout)
        self.leaving = True
        super().leave(timeout)


# ---- the program -----------------------------------------------------------------------------------------------------


def answer(client, message):
    if message.kind == "MESSAGE" and message.type == b"conform.watch":
        client.watch(message.body.decode())
        return True
    return brood_level0.answer(client, message)


def greet(client, greeted):
    """Write to whoever holds a watched name, once to each."""
    for name in client.watched:
        holder = client.names.get(name, 0)
        if holder and greeted.get(name) != holder:
            greeted[name] = holder
            client.send(holder, b"conform.found", b"")


def conform(address, name, make=Client, answer=answer):
    client = make(address)
    client.register(name)
    greeted = {}
    while not any([brood_level0.answer_all(client, inflow, answer) for inflow in list(client.inflows.values())]):
        if client.stopping:
            break
        client.turn(None)
        if client.ended:
            raise Refused("the connection ended")
        greet(client, greeted)
    client.leave()


if __name__ == "__main__":
    sys.exit(brood_level0.main("brood_level1.py", sys.argv[-1], conform))
