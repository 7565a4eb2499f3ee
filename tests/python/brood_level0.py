#!/usr/bin/python3
"""A client of level 0 for brood's wire, written from proto/README.md alone.

As a module: frames and items to bytes and back, and a Client over a Unix socket. As a program: the client that
`brood conform -- python3 brood_level0.py` tests; the last argument is the name to register, the broker is at
$BROOD_ADDRESS. It needs python3-protobuf and protoc (protobuf-compiler).
"""

import collections
import errno
import importlib
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time

# ---- the schema ------------------------------------------------------------------------------------------------------


def load_schema(name):
    """The Python module that protoc makes of proto/NAME.proto."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(["protoc", "--python_out=" + made, "--proto_path=" + folder, name + ".proto"], check=True)
        sys.path.insert(0, made)
        try:
            return importlib.import_module(name + "_pb2")
        finally:
            sys.path.remove(made)


pb = load_schema("brood")

# ---- frames ----------------------------------------------------------------------------------------------------------

MAGIC = 0xB1
HEAD = struct.Struct("<BBBBIQQIHHQQ")
BODY_MAX = 256 * 1024
CONTROL_MAX = 64 * 1024

KINDS = {
    0x01: "DATA", 0x02: "ACK", 0x03: "RESET", 0x04: "PROBE", 0x10: "HELLO", 0x11: "ADOPT", 0x12: "REGISTER",
    0x13: "UNREGISTER", 0x14: "WATCH", 0x15: "DIED", 0x16: "GOODBYE", 0x20: "HELLO_OK", 0x22: "HOLD", 0x23: "GO",
    0x24: "GONE", 0x25: "END", 0x26: "NAME", 0x27: "REGISTERED", 0x28: "JOINED", 0x30: "BIRTH",
}
BARE = {"ACK", "RESET", "PROBE", "HOLD", "GO"}
CODES = {name: code for code, name in KINDS.items()}
ACK_NOW = 0x01
AWAY = 0x02
FDS = 0x04

Frame = collections.namedtuple("Frame", "kind flags source destination stream sequence acknowledge body",
                               defaults=(0, 0, 0, 0, 0, 0, b""))


class Malformed(Exception):
    """The other side broke the wire's rules."""


def padding(length):
    return -length % 8


def encode_frame(frame):
    head = HEAD.pack(MAGIC, CODES[frame.kind], frame.flags, 0, len(frame.body), frame.source, frame.destination,
                     frame.stream, 0, 0, frame.sequence, frame.acknowledge)
    return head + frame.body + bytes(padding(len(frame.body)))


def decode_frame(data, at=0):
    """The frame at data[at:] and where the next one begins, or (None, at) if some of it is missing."""
    if len(data) > at and data[at] != MAGIC:
        raise Malformed("frame.magic")
    if len(data) - at < HEAD.size:
        return None, at
    _, code, flags, zero, length, source, destination, stream, _, _, sequence, acknowledge = HEAD.unpack_from(data, at)
    kind = KINDS.get(code)
    if kind is None or zero:
        raise Malformed("frame.kind")
    if length > (BODY_MAX if kind == "DATA" else 0 if kind in BARE else CONTROL_MAX):
        raise Malformed("frame.length")
    end = at + HEAD.size + length
    if len(data) < end + padding(length):
        return None, at
    body = bytes(data[at + HEAD.size:end])
    return Frame(kind, flags, source, destination, stream, sequence, acknowledge, body), end + padding(length)


def id_text(number):
    return "%x.%d" % (number >> 32, number & 0xFFFFFFFF)


# ---- items -----------------------------------------------------------------------------------------------------------

ITEM_KINDS = {1: "MESSAGE", 2: "REQUEST", 3: "REPLY", 4: "FAILURE", 5: "CANCEL", 6: "READY", 7: "FIN",
              8: "REFUSED"}
ITEM_CODES = {name: code for code, name in ITEM_KINDS.items()}
CALLS = {"REQUEST", "REPLY", "FAILURE", "CANCEL", "REFUSED"}
BODILESS = {"CANCEL", "READY", "FIN"}
NO_WINDOW = {"REPLY", "FAILURE", "CANCEL", "READY", "FIN", "REFUSED"}
FDS_KINDS = {"MESSAGE", "REQUEST", "REPLY"}
FDS_MOST = 16
MORE = 0x40
CONTINUED = 0x80
FRAGMENT = 128 * 1024 - 64
MESSAGE_MAX = 64 * 1024 * 1024
TYPES = 64
UNNUMBERED = 0xFFFF
TAG_TYPE, TAG_TRACE, TAG_TOTAL, TAG_FDS = 1, 2, 3, 4

Item = collections.namedtuple("Item", "kind type body correlation deadline name trace total more continued fds",
                              defaults=(0, b"", 0, 0, None, None, None, False, False, 0))


def encode_extension(item):
    entries = b""
    if item.name is not None:
        entries += bytes([TAG_TYPE, len(item.name)]) + item.name
    if item.trace is not None:
        entries += bytes([TAG_TRACE, len(item.trace)]) + item.trace
    if item.more and not item.continued:
        entries += bytes([TAG_TOTAL, 8]) + struct.pack("<Q", item.total)
    if item.fds:
        entries += bytes([TAG_FDS, 1, item.fds])
    return entries + bytes(padding(len(entries)))


def encode_item(item):
    extension = encode_extension(item)
    bits = ITEM_CODES[item.kind] | (MORE if item.more else 0) | (CONTINUED if item.continued else 0)
    head = struct.pack("<IHBB", len(item.body), item.type, bits, len(extension) // 8)
    call = struct.pack("<QQ", item.correlation, item.deadline) if item.kind in CALLS else b""
    return head + call + extension + item.body + bytes(8 - len(item.body) % 8)


def decode_extension(data):
    """Tag to bytes."""
    found, at = {}, 0
    while at < len(data) and data[at] != 0:
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise Malformed("an entry is longer than its extension")
        tag, length = data[at], data[at + 1]
        if tag in found:
            raise Malformed("an entry comes twice")
        found[tag] = data[at + 2:at + 2 + length]
        at += 2 + length
    return found


def decode_fds(kind, entries):
    """How many descriptors the item says to bring."""
    if TAG_FDS not in entries:
        return 0
    if kind not in FDS_KINDS or len(entries[TAG_FDS]) != 1 or not 0 < entries[TAG_FDS][0] <= FDS_MOST:
        raise Malformed("descriptors where there cannot be any")
    return entries[TAG_FDS][0]


def decode_item(data, at):
    """The item at data[at:] and where the next one begins."""
    if len(data) - at < 16:
        raise Malformed("an item is cut")
    length, number, bits, extension = struct.unpack_from("<IHBB", data, at)
    kind = ITEM_KINDS.get(bits & 0x3F)
    if kind is None or length > FRAGMENT or (kind in BODILESS and (length or bits & (MORE | CONTINUED))):
        raise Malformed("an item of an unknown or impossible kind")
    begin = at + 8 + (16 if kind in CALLS else 0)
    body = begin + 8 * extension
    end = body + length + 8 - length % 8
    if end > len(data):
        raise Malformed("an item is cut")
    if any(data[body + length:end]):
        raise Malformed("the padding is not zero")
    correlation, deadline = struct.unpack_from("<QQ", data, at + 8) if kind in CALLS else (0, 0)
    entries = decode_extension(data[begin:body])
    total = struct.unpack("<Q", entries[TAG_TOTAL])[0] if TAG_TOTAL in entries else None
    item = Item(kind, number, data[body:body + length], correlation, deadline, entries.get(TAG_TYPE),
                entries.get(TAG_TRACE), total, bool(bits & MORE), bool(bits & CONTINUED), decode_fds(kind, entries))
    if item.continued and extension or item.more and not item.continued and not length < (total or 0) <= MESSAGE_MAX:
        raise Malformed("a fragment that contradicts itself")
    return item, end


def decode_items(data):
    items, at = [], 0
    while at < len(data):
        item, at = decode_item(data, at)
        items.append(item)
    return items


# ---- streams ---------------------------------------------------------------------------------------------------------

WINDOW = 4 * 1024 * 1024
WINDOW_ITEMS = 65536
CHANNEL = 0xFFFFFF  # of a head's `stream`; above it is how often each direction began anew


def is_newer(a, b):
    """Whether the stream with the number a takes the place of the one with b."""
    return 1 <= (a - b) % 16 <= 7


# sequence: of its last item
Message = collections.namedtuple("Message", "kind type body correlation source sequence trace fds", defaults=(0,))


class Outflow:
    """What I send to one process: a log of items, the first part of which is under way."""

    def __init__(self, number=0):
        self.number = number  # how often it began anew
        self.log = collections.deque()  # (bytes, needs window), from item acked + 1 on
        self.acked = 0
        self.logged = 0  # bytes in the log
        self.sent = 0  # items of the log that are under way ...
        self.sent_bytes = 0  # ... and their bytes
        self.unmarked = 0  # bytes since the last that asked for an acknowledgement
        self.unmarked_items = 0
        self.types = {}
        self.refusals = []  # (item of the other side that was refused, item of the log that says so), in order
        self.held = False

    def has_room(self, size):
        return not self.log or (self.logged + size <= WINDOW and len(self.log) < WINDOW_ITEMS)

    def add(self, item):
        data = encode_item(item)
        self.log.append((data, item.kind not in NO_WINDOW))
        self.logged += len(data)

    def number_of(self, name):
        """Number and name to write into an item for a type's name."""
        if not name:
            return 0, None
        if name in self.types:
            return self.types[name], None
        if len(self.types) == TYPES:
            return UNNUMBERED, name
        self.types[name] = len(self.types) + 1
        return self.types[name], name

    def put(self, kind, name, body, correlation=0, deadline=0, trace=None):
        number, new_name = self.number_of(name)
        more = len(body) > FRAGMENT
        self.add(Item(kind, number, body[:FRAGMENT], correlation, deadline, new_name, trace, len(body), more))
        for at in range(FRAGMENT, len(body), FRAGMENT):
            more = at + FRAGMENT < len(body)
            self.add(Item(kind, 0, body[at:at + FRAGMENT], correlation, deadline, more=more, continued=True))

    def refuse(self, sequence, failure):
        self.put("REFUSED", None, failure, sequence)
        self.refusals.append((sequence, self.acked + len(self.log)))

    def may_acknowledge(self, consumed):
        """As much of it as may be told behind what is under way: a refused item not before its REFUSED."""
        for sequence, said_by in self.refusals:
            if said_by > self.acked + self.sent:
                return min(consumed, sequence - 1)
        return consumed

    def leads_to_refusal(self):
        """The acknowledgement that would make room may wait for it."""
        return self.refusals and self.acked + self.sent < self.refusals[-1][1]

    def may_go(self, data, needs_window):
        if not needs_window or self.sent == 0 or self.leads_to_refusal():
            return True
        return self.sent_bytes + len(data) <= WINDOW and self.sent < WINDOW_ITEMS

    def next_frame(self):
        """(sequence, flags, body) of the next frame to write, or None."""
        first, size, parts = self.sent, 0, []
        while not self.held and self.sent < len(self.log):
            data, needs_window = self.log[self.sent]
            if not self.may_go(data, needs_window) or size + len(data) > BODY_MAX:
                break
            parts.append(data)
            size += len(data)
            self.sent += 1
            self.sent_bytes += len(data)
        if not parts:
            return None
        return self.acked + first + 1, self.mark(size, len(parts)), b"".join(parts)

    def mark(self, size, items):
        """Ask for an acknowledgement every quarter of the window, and before we stop to wait."""
        self.unmarked += size
        self.unmarked_items += items
        quarter = self.unmarked * 4 >= WINDOW or self.unmarked_items * 4 >= WINDOW_ITEMS
        if not quarter and self.sent < len(self.log):
            return 0
        self.unmarked = self.unmarked_items = 0
        return ACK_NOW

    def acknowledged(self, sequence):
        if not self.acked < sequence <= self.acked + self.sent:
            return
        for _ in range(sequence - self.acked):
            size = len(self.log.popleft()[0])
            self.logged -= size
            self.sent_bytes -= size
            self.sent -= 1
        self.acked = sequence
        self.refusals = [refusal for refusal in self.refusals if refusal[1] > sequence]

    def go(self):
        self.held = False
        self.sent = self.sent_bytes = 0


class Inflow:
    """What one process sends to me."""

    def __init__(self, source):
        self.source = source
        self.number = None  # how often it began anew; None: nothing came yet
        self.inbox = collections.deque()
        self.begin()

    def begin(self, number=None):
        """What came of a stream before stays in the inbox, and counts for nothing."""
        self.number = number
        self.next = 1
        self.consumed = 0
        self.told = 0
        self.asked = 0
        self.types = {}
        self.parts = None  # of a message in fragments
        self.inbox = collections.deque(message._replace(sequence=0) for message in self.inbox)

    def is_read(self, number):
        """Whether frames with this number are of the stream that is read. A newer one takes its place."""
        if self.number is None:
            self.number = number
        elif is_newer(number, self.number):
            self.begin(number)
        return number == self.number

    def type_of(self, item):
        if item.type == 0:
            return b""
        if item.type == UNNUMBERED:
            return item.name
        if item.name is not None:
            if self.types.setdefault(item.type, item.name) != item.name:
                raise Malformed("a type's number changed its meaning")
        if item.type not in self.types:
            raise Malformed("a type's number has no meaning")
        return self.types[item.type]

    def take_frame(self, frame):
        sequence = frame.sequence
        for item in decode_items(frame.body):
            if sequence == self.next:
                self.next += 1
                self.take(item, sequence)
            sequence += 1
        if frame.flags & ACK_NOW:
            self.ask(sequence - 1)

    def ask(self, sequence):
        self.asked = max(self.asked, sequence)
        if sequence <= self.told:
            self.told = -1  # our answer may have been lost: say it again

    def probe(self, sequence):
        """Say what was consumed again, whatever is missing; and the rest of what is before that item as soon as it is."""
        self.ask(sequence - 1 if sequence else self.next - 1)
        self.told = -1

    def take(self, item, sequence):
        if not item.continued:
            self.parts = [item, self.type_of(item), []]
        if self.parts is None:
            raise Malformed("a fragment without its first")
        first, name, bodies = self.parts
        bodies.append(item.body)
        if item.more:
            self.advance(sequence)
            return
        self.parts = None
        body = b"".join(bodies)
        if first.more and len(body) != first.total:
            raise Malformed("fragments that do not add up")
        self.inbox.append(Message(first.kind, name, body, first.correlation, self.source, sequence, first.trace,
                                  first.fds))

    def advance(self, sequence):
        """A fragment is consumed when it is copied, unless messages before it are not."""
        if not self.inbox:
            self.consumed = sequence

    def done(self, message):
        """The first message of the inbox was consumed, and with it the fragments up to the next one."""
        assert self.inbox[0] is message
        self.inbox.popleft()
        if self.inbox:
            self.consumed = max(self.consumed, message.sequence)
        else:
            self.consumed = self.next - 1

    def owes(self, consumed):
        return self.told < 0 or (self.asked > self.told and consumed > self.told)


# ---- the client ------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The broker closed the connection, or refused a name."""


class Client:
    """A connection to a broker. Every method that waits calls turn()."""

    LEVEL = 0

    def __init__(self, address, title="brood_level0"):
        if not address.startswith("unix:"):
            raise ValueError("only unix: addresses")
        self.address = address
        self.title = title
        self.id = None
        self.stopping = False
        self.out, self.inflows = {}, {}
        self.registered, self.names, self.gone = {}, {}, {}
        self.correlation = 0
        self.answers = {}
        self.connect()
        self.hello()
        self.wait(lambda: self.id is not None)

    # -- bytes

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(self.address[len("unix:"):])
        self.socket.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, selectors.EVENT_READ)
        self.received = bytearray()
        self.unsent = bytearray()
        self.ended = False

    def hello(self, **more):
        body = pb.Hello(level=self.LEVEL, pid=os.getpid(), title=self.title, **more)
        self.write(Frame("HELLO", body=body.SerializeToString()))

    def write(self, frame):
        self.unsent += encode_frame(frame)

    def flush(self):
        while self.unsent:
            try:
                sent = self.socket.send(self.unsent)
            except BlockingIOError:
                break
            except (BrokenPipeError, ConnectionResetError):
                self.unsent.clear()  # what the broker had to say about it is still to be read
                break
            del self.unsent[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0)
        self.selector.modify(self.socket, events)

    def read(self):
        try:
            data = self.socket.recv(256 * 1024)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            return
        self.received += data
        at = 0
        while True:
            frame, at = decode_frame(self.received, at)
            if frame is None:
                break
            self.take(frame)
        del self.received[:at]

    def turn(self, timeout):
        """Write what may be written, wait for bytes, take what came."""
        self.pump()
        self.flush()
        for _, events in self.selector.select(timeout):
            if events & selectors.EVENT_READ:
                self.read()

    def wait(self, condition, timeout=10.0):
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if self.ended or left <= 0:
                raise Refused("the connection ended" if self.ended else "nothing came in time")
            self.turn(left)

    # -- frames

    def take(self, frame):
        handler = getattr(self, "take_" + frame.kind.lower(), None)
        if handler:
            handler(frame)

    def take_hello_ok(self, frame):
        self.id = pb.HelloOk.FromString(frame.body).id

    def take_goodbye(self, frame):
        goodbye = pb.Goodbye.FromString(frame.body)
        if goodbye.parting == pb.PARTING_REFUSED:
            raise Refused("%s: %s" % (goodbye.error, goodbye.text))
        self.stopping = True

    def take_registered(self, frame):
        answer = pb.Registered.FromString(frame.body)
        self.registered[answer.name] = answer

    def take_name(self, frame):
        answer = pb.Name.FromString(frame.body)
        self.names[answer.name] = answer.id

    def outflow(self, destination):
        return self.out.setdefault(destination, Outflow())

    def inflow(self, source):
        if source not in self.inflows:
            self.inflows[source] = Inflow(source)
        return self.inflows[source]

    def take_data(self, frame):
        self.take_ack(frame)
        if self.is_read(frame):
            self.inflow(frame.source).take_frame(frame)

    def is_read(self, frame):
        return not frame.stream & CHANNEL and self.inflow(frame.source).is_read(frame.stream >> 28)

    def is_about_mine(self, frame):
        """Whether what it acknowledges or resets is what I send now."""
        out = self.out.get(frame.source)
        return out and frame.stream & CHANNEL == 0 and frame.stream >> 24 & 15 == out.number

    def take_ack(self, frame):
        if self.is_about_mine(frame):
            self.out[frame.source].acknowledged(frame.acknowledge)

    def take_probe(self, frame):
        self.take_ack(frame)
        if self.is_read(frame):
            self.inflow(frame.source).probe(frame.sequence)

    def take_reset(self, frame):
        """What became of it is unknown, and at level 0 there is nothing else to say."""
        if self.is_about_mine(frame):
            self.part(frame.source, pb.WHY_UNKNOWN)

    def part(self, source, why):
        self.gone[source] = why
        self.out.pop(source, None)
        # What came before stays: its inbox is emptied by the program as any other.

    def take_hold(self, frame):
        self.outflow(frame.source).held = True

    def take_go(self, frame):
        self.outflow(frame.source).go()
        if frame.source in self.inflows:
            self.inflows[frame.source].ask(0)

    def take_gone(self, frame):
        gone = pb.Gone.FromString(frame.body)
        self.part(gone.id, gone.why)

    def pump(self):
        """Make frames of what may go, and acknowledge what has no frame to ride on."""
        for destination, out in self.out.items():
            while len(self.unsent) < 1024 * 1024:
                made = out.next_frame()
                if made is None:
                    break
                sequence, flags, body = made
                self.write(Frame("DATA", flags, 0, destination, self.stream(destination), sequence,
                                 self.acknowledge(destination), body))
        for source, inflow in self.inflows.items():
            if inflow.owes(self.may_acknowledge(source)) and source not in self.gone:
                self.write_ack(source)

    def write_ack(self, source):
        self.write(Frame("ACK", destination=source, stream=self.stream(source), acknowledge=self.acknowledge(source)))

    def stream(self, peer):
        """How often my stream to it began anew, and its to me."""
        mine = self.out[peer].number if peer in self.out else 0
        its = self.inflows[peer].number or 0 if peer in self.inflows else 0
        return mine << 28 | its << 24

    def may_acknowledge(self, source):
        consumed = self.inflows[source].consumed
        return self.out[source].may_acknowledge(consumed) if source in self.out else consumed

    def acknowledge(self, source):
        inflow = self.inflows.get(source)
        if inflow is None:
            return 0
        inflow.told = self.may_acknowledge(source)
        return inflow.told

    # -- what a program does

    def register(self, name):
        self.registered.pop(name, None)
        self.write(Frame("REGISTER", body=pb.Register(name=name).SerializeToString()))
        self.wait(lambda: name in self.registered)
        if self.registered[name].code:
            raise Refused("%s: %s" % (self.registered[name].error, self.registered[name].text))

    def find(self, name, timeout=10.0):
        """Id of the holder of a name; waits until there is one."""
        if name not in self.names:
            self.write(Frame("WATCH", body=pb.Watch(name=name).SerializeToString()))
        self.wait(lambda: self.names.get(name, 0) != 0, timeout)
        return self.names[name]

    def has_room(self, destination, size):
        return self.outflow(destination).has_room(size + 600)  # its heads, at most

    def send(self, destination, name, body):
        self.wait(lambda: self.has_room(destination, len(body)) or destination in self.gone, 60)
        self.outflow(destination).put("MESSAGE", name, body)

    def request(self, destination, name, body, timeout=10.0):
        """Ask and wait: the REPLY or FAILURE. Messages that come meanwhile stay in their inboxes."""
        self.correlation += 1
        key = (destination, self.correlation)
        self.outflow(destination).put("REQUEST", name, body, self.correlation)
        self.wait(lambda: self.take_answer(key) or destination in self.gone, timeout)
        return self.answers.pop(key, None)

    def take_answer(self, key):
        inflow = self.inflow(key[0])
        while inflow.inbox and inflow.inbox[0].kind in ("REPLY", "FAILURE"):
            message = inflow.inbox[0]
            self.answers[(message.source, message.correlation)] = message
            inflow.done(message)
        return key in self.answers

    def leave(self, timeout=10.0):
        """Wait until everything arrived, acknowledge, say goodbye."""
        self.wait(lambda: not any(out.log for out in self.out.values()), timeout)
        for source, inflow in self.inflows.items():
            if inflow.told != inflow.consumed and source not in self.gone:
                self.write_ack(source)
        self.write(Frame("GOODBYE", body=pb.Goodbye(parting=pb.PARTING_LEAVING).SerializeToString()))
        while not self.ended:
            self.turn(timeout)
        self.socket.close()


# ---- the program -----------------------------------------------------------------------------------------------------


def refuse(out, message):
    """We take no descriptors: without them it is not what was sent, so it goes back."""
    failure = pb.Failure(code=-errno.EXDEV, error="fd.transport", text="this client takes no descriptors")
    if message.kind == "REQUEST":
        out.put("FAILURE", None, failure.SerializeToString(), message.correlation)
    elif message.sequence:  # else its stream was reported as a whole
        out.refuse(message.sequence, failure.SerializeToString())


def answer(client, message):
    """Send a message or request back. False if there is no room for that now."""
    out = client.outflow(message.source)
    if message.fds and message.kind in ("MESSAGE", "REQUEST"):
        refuse(out, message)
    elif message.kind == "MESSAGE":
        if not client.has_room(message.source, len(message.body)):
            return False
        out.put("MESSAGE", message.type, message.body)
    elif message.kind == "REQUEST":
        out.put("REPLY", message.type, message.body, message.correlation)
    return True


def answer_all(client, inflow, answer=answer):
    """Answer what is in an inbox, as far as there is room. True at conform.stop."""
    while inflow.inbox:
        message = inflow.inbox[0]
        if message.kind == "MESSAGE" and message.type == b"conform.stop":
            inflow.done(message)
            return True
        if message.source in client.gone:
            inflow.done(message)
            continue
        if not answer(client, message):
            return False
        inflow.done(message)
    return False


def conform(address, name, make=Client, answer=answer):
    client = make(address)
    client.register(name)
    # Messages may have come together with the answer to REGISTER, so look first, then wait.
    while not any([answer_all(client, inflow, answer) for inflow in client.inflows.values()]) and not client.stopping:
        client.turn(None)
        if client.ended:
            raise Refused("the connection ended")
    client.leave()


def main(program, name, conform):
    if "BROOD_ADDRESS" not in os.environ:
        print("%s: BROOD_ADDRESS=unix:/path is not set" % program, file=sys.stderr)
        return 2
    try:
        conform(os.environ["BROOD_ADDRESS"], name)
    except (Refused, Malformed, OSError) as error:
        print("%s: %s" % (program, error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("brood_level0.py", sys.argv[-1], conform))
