#!/usr/bin/python3
"""Reads proto/golden with the Python client's own code: every line of meaning must come out of the bytes, and the same
bytes must come out of what was read. Then the client's streams, without a broker."""

import glob
import hashlib
import hmac
import os
import struct
import unittest

import brood_level0 as brood

control = brood.load_schema("control")
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto", "golden")

A, B, FIRST = 0x65F2A1B000000003, 0x65F2A1B000000004, 0x65F2A1B000000010
KEY = bytes(range(32))


def read_golden(path):
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    comments = [line[2:] for line in lines if line.startswith("#")]
    return comments, bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def load(name):
    data = read_golden(os.path.join(GOLDEN, name + ".hex"))[1]
    return brood.decode_frame(data)[0]


def tell_frame(frame):
    return "frame kind=%s flags=%d source=%s destination=%s stream=%d sequence=%d acknowledge=%d length=%d" % (
        frame.kind, frame.flags, brood.id_text(frame.source), brood.id_text(frame.destination), frame.stream,
        frame.sequence, frame.acknowledge, len(frame.body))


def tell_item(item):
    text = "item kind=%s type=%d length=%d" % (item.kind, item.type, len(item.body))
    if item.kind in brood.CALLS:
        text += " correlation=%d deadline=%d" % (item.correlation, item.deadline)
    if item.name is not None:
        text += " name=" + item.name.decode()
    if item.trace is not None:
        text += " trace=" + item.trace.decode()
    if item.total is not None:
        text += " total=%d" % item.total
    if item.fds:
        text += " fds=%d" % item.fds
    return text + (" more" if item.more else "") + (" continued" if item.continued else "")


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def ticket(id_, parent, first, uid):
    block_key = mac(KEY, b"block" + struct.pack("<Q", first))
    claim = struct.pack("<QQQII", id_, parent, first, uid, 0)
    return claim + mac(block_key, claim)


class Golden(unittest.TestCase):
    def test_every_file_means_what_it_says(self):
        paths = sorted(glob.glob(os.path.join(GOLDEN, "*.hex")))
        self.assertGreaterEqual(len(paths), 20)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                comments, data = read_golden(path)
                frame, end = brood.decode_frame(data)
                self.assertEqual(end, len(data))
                items = brood.decode_items(frame.body) if frame.kind == "DATA" else []
                self.assertEqual([tell_frame(frame)] + [tell_item(item) for item in items], comments[1:])

    def test_every_file_can_be_written(self):
        for path in glob.glob(os.path.join(GOLDEN, "*.hex")):
            with self.subTest(os.path.basename(path)):
                data = read_golden(path)[1]
                frame = brood.decode_frame(data)[0]
                if frame.kind == "DATA":
                    items = brood.decode_items(frame.body)
                    frame = frame._replace(body=b"".join(brood.encode_item(item) for item in items))
                self.assertEqual(brood.encode_frame(frame), data)

    def test_cut_frames_ask_for_more(self):
        data = read_golden(os.path.join(GOLDEN, "request.hex"))[1]
        for end in range(len(data)):
            self.assertEqual(brood.decode_frame(data[:end]), (None, 0))

    def test_control_bodies(self):
        pb = brood.pb
        expected = {
            "hello": pb.Hello(pid=4242, title="echo.py"),
            "hello-ticket": pb.Hello(level=1, ticket=ticket(FIRST + 1, A, FIRST, 1000), ids=16),
            "hello-ok": pb.HelloOk(id=A, node="alpha", ticket=ticket(A, 0, 0, 1000), first_id=FIRST, ids=16,
                                   ids_key=mac(KEY, b"block" + struct.pack("<Q", FIRST)), pid=77,
                                   address="unix:/run/brood/socket"),
            "adopt": pb.Adopt(id=FIRST + 1, uid=1000, pid=4300, title="worker", name="resize"),
            "birth": pb.Birth(id=FIRST + 1, parent=A, node="alpha", address="unix:/run/brood/socket",
                              ticket=ticket(FIRST + 1, A, FIRST, 1000)),
            "register": pb.Register(name="resize"),
            "unregister": pb.Register(),
            "registered": pb.Registered(name="resize"),
            "registered-taken": pb.Registered(name="resize", code=-98, error="name.taken",
                                              text='"resize" belongs to 65f2a1b0.4 (worker, pid 4300)',
                                              hint="see who has it with: brood ps"),
            "watch": pb.Watch(name="resize"),
            "name": pb.Name(name="resize", id=B),
            "gone": pb.Gone(id=B, why=pb.WHY_EXITED),
            "joined": pb.Joined(id=B, pid=4400, title="helper"),
            "died": pb.Died(id=FIRST + 1),
            "end": pb.End(id=FIRST + 1, last=42),
            "goodbye": pb.Goodbye(parting=pb.PARTING_LEAVING),
            "goodbye-refused": pb.Goodbye(parting=pb.PARTING_REFUSED, code=-71, error="hello.expected",
                                          text="the first frame was REGISTER", hint="send HELLO as the first frame"),
        }
        for name, message in expected.items():
            with self.subTest(name):
                self.assertEqual(type(message).FromString(load(name).body), message)

    def test_bodies_of_calls(self):
        failure = brood.pb.Failure.FromString(brood.decode_items(load("failure").body)[0].body)
        self.assertEqual((failure.code, failure.error), (-42, "unanswered"))
        refused = brood.decode_items(load("refused").body)[0]
        self.assertEqual(refused.correlation, brood.decode_frame(read_golden(
            os.path.join(GOLDEN, "message-fds.hex"))[1])[0].sequence)
        self.assertEqual(brood.pb.Failure.FromString(refused.body).error, "fd.transport")
        asked = brood.decode_items(load("control-list").body)[0]
        self.assertEqual(control.List.FromString(asked.body).most, 10)
        listed = control.Listing.FromString(brood.decode_items(load("control-listing").body)[0].body)
        self.assertEqual([(p.id, p.name, p.since_ms) for p in listed.process], [(A, "resize", 1500)])

    def test_fragments_make_a_message(self):
        inflow = brood.Inflow(A)
        inflow.next = 2
        inflow.types[1] = b"text"
        for name in ("fragment-first", "fragments-rest"):
            frame = load(name)
            inflow.next = min(inflow.next, frame.sequence) if inflow.parts else frame.sequence
            inflow.take_frame(frame)
        self.assertEqual([(m.type, m.body) for m in inflow.inbox], [(b"text", b"abcdefghijklmnopqrst")])


class Streams(unittest.TestCase):
    def deliver(self, out, inflow):
        """Move all frames that may go; their bodies' sizes and flags."""
        moved = []
        while True:
            made = out.next_frame()
            if made is None:
                return moved
            sequence, flags, body = made
            moved.append((len(body), flags))
            inflow.take_frame(brood.Frame("DATA", flags, B, A, 0, sequence, 0, body))

    def test_the_window_stops_and_acknowledgements_resume(self):
        out, inflow = brood.Outflow(), brood.Inflow(B)
        for i in range(100):
            out.put("MESSAGE", b"T", bytes([i]) * 100000)
        moved = self.deliver(out, inflow)
        self.assertLessEqual(sum(size for size, _ in moved), brood.WINDOW)
        self.assertGreater(sum(size for size, _ in moved), brood.WINDOW - 101000)
        self.assertGreaterEqual(sum(flags for _, flags in moved), 3)
        self.assertEqual(self.deliver(out, inflow), [])
        inflow.done(inflow.inbox[0])
        self.assertTrue(inflow.owes(inflow.consumed))
        out.acknowledged(inflow.consumed)
        self.assertEqual(len(self.deliver(out, inflow)), 1)

    def test_many_small_items_fill_the_window_by_number(self):
        out, inflow = brood.Outflow(), brood.Inflow(B)
        for _ in range(70000):
            out.put("MESSAGE", b"", b"")
        self.deliver(out, inflow)
        self.assertEqual(len(inflow.inbox), 65536)
        out.put("REPLY", b"", b"")
        self.assertEqual(self.deliver(out, inflow), [])  # needs no window, but keeps its place

    def test_go_repeats_and_nothing_comes_twice(self):
        out, inflow = brood.Outflow(), brood.Inflow(B)
        for i in range(10):
            out.put("MESSAGE", b"T%d" % (i % 3), b"%d" % i)
        self.deliver(out, inflow)
        out.acknowledged(4)
        out.held = True
        out.put("MESSAGE", b"T", b"10")
        self.assertEqual(self.deliver(out, inflow), [])
        out.go()
        self.deliver(out, inflow)
        self.assertEqual([m.body for m in inflow.inbox], [b"%d" % i for i in range(11)])

    def test_what_brings_descriptors_is_refused(self):
        inflow = brood.Inflow(A)
        inflow.next = 10
        inflow.types[1] = b"text"
        frame = load("message-fds")
        self.assertTrue(frame.flags & brood.FDS)
        inflow.take_frame(frame)
        message = inflow.inbox[0]
        self.assertEqual((message.fds, message.sequence), (2, 10))
        out = brood.Outflow()
        brood.refuse(out, message)
        brood.refuse(out, message._replace(kind="REQUEST", correlation=7))
        items = brood.decode_items(out.next_frame()[2])
        self.assertEqual([(i.kind, i.correlation) for i in items], [("REFUSED", 10), ("FAILURE", 7)])

    def test_a_refusal_waits_for_no_window(self):
        out = brood.Outflow()
        out.put("MESSAGE", None, bytes(2 * brood.WINDOW))
        while out.next_frame():
            pass
        self.assertLessEqual(out.sent_bytes, brood.WINDOW)
        out.refuse(7, b"")
        self.assertEqual([out.may_acknowledge(6), out.may_acknowledge(9)], [6, 6])
        out.put("MESSAGE", None, bytes(1000))
        while out.next_frame():
            pass
        self.assertEqual(out.sent, len(out.log) - 1)
        self.assertEqual(out.may_acknowledge(9), 9)
        out.go()  # it may have been lost
        self.assertEqual(out.may_acknowledge(9), 6)

    def test_gaps_are_ignored(self):
        inflow = brood.Inflow(B)
        item = brood.encode_item(brood.Item("MESSAGE", 0, b"x"))
        inflow.take_frame(brood.Frame("DATA", 0, B, A, 0, 2, 0, item))
        self.assertEqual(len(inflow.inbox), 0)
        inflow.take_frame(brood.Frame("DATA", 0, B, A, 0, 1, 0, item + item))
        self.assertEqual([m.sequence for m in inflow.inbox], [1, 2])

    def test_old_frames_are_acknowledged_again(self):
        inflow = brood.Inflow(B)
        item = brood.encode_item(brood.Item("MESSAGE", 0, b"x"))
        frame = brood.Frame("DATA", brood.ACK_NOW, B, A, 0, 1, 0, item)
        inflow.take_frame(frame)
        self.assertFalse(inflow.owes(inflow.consumed))
        inflow.done(inflow.inbox[0])
        self.assertTrue(inflow.owes(inflow.consumed))
        inflow.told = inflow.consumed
        self.assertFalse(inflow.owes(inflow.consumed))
        inflow.take_frame(frame)
        self.assertTrue(inflow.owes(inflow.consumed))

    def test_an_impossible_acknowledgement_is_ignored(self):
        out = brood.Outflow()
        out.put("MESSAGE", b"", b"x")
        out.acknowledged(1)
        self.assertEqual(len(out.log), 1)  # it was not even sent

    def test_malformed_items_are_refused(self):
        good = brood.encode_item(brood.Item("MESSAGE", 0, b"hello"))
        for data in (good[:8], good[:-1], good[:-1] + b"x", b"\xff" + good[1:], good[:6] + b"\x09" + good[7:]):
            with self.assertRaises(brood.Malformed):
                brood.decode_items(data)


if __name__ == "__main__":
    unittest.main()
