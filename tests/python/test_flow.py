#!/usr/bin/python3
"""The Python client against a real broker ($BROOD_BROKER), at both ends: the program of brood_level0.py sends everything
back, and Clients in this process talk to it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import brood_level0 as brood

control = brood.load_schema("control")
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "brood_level0.py")


class Flow(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="brood-")
        self.broker = subprocess.Popen([os.environ["BROOD_BROKER"], "--dir", self.directory.name, "--log-level", "error"])
        path = os.path.join(self.directory.name, "sock")
        while not os.path.exists(path):
            self.assertIsNone(self.broker.poll(), "the broker did not start")
            time.sleep(0.005)
        self.address = "unix:" + path
        environment = dict(os.environ, BROOD_ADDRESS=self.address)
        self.clients = []
        self.echo = subprocess.Popen([sys.executable, "-B", PROGRAM, "conform-echo"], env=environment)

    def tearDown(self):
        for client in self.clients:
            client.socket.close()  # else the broker would wait for them
        self.echo.kill()
        self.echo.wait()
        self.broker.terminate()
        self.assertEqual(self.broker.wait(10), 0)
        self.directory.cleanup()

    def connect(self):
        client = brood.Client(self.address, "test_flow")
        self.clients.append(client)
        return client, client.find("conform-echo")

    def take_echoes(self, client, peer, n):
        """The next n messages, consumed one by one."""
        taken = []
        inflow = client.inflow(peer)
        while len(taken) < n:
            client.wait(lambda: inflow.inbox)
            taken.append(inflow.inbox[0])
            inflow.done(taken[-1])
        return [(message.type, message.body) for message in taken]

    def test_messages_come_back_in_order(self):
        client, peer = self.connect()
        sent = [(b"T%d" % (i % 100) if i else b"", b"%d" % i * (i % 40)) for i in range(3000)]
        sent += [(b"big", bytes([i]) * (1 << 20)) for i in range(6)]
        for name, body in sent:
            client.send(peer, name, body)
        self.assertEqual(self.take_echoes(client, peer, len(sent)), sent)

    def test_the_window_is_respected(self):
        client, peer = self.connect()
        inflow = client.inflow(peer)
        out = client.outflow(peer)
        for i in range(120):
            out.put("MESSAGE", b"T", bytes([i]) * 100000)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            client.turn(0.1)  # nothing is consumed meanwhile
        self.assertLessEqual(len(inflow.inbox) * 100000, brood.WINDOW)
        self.assertGreater(len(inflow.inbox) * 100000, brood.WINDOW // 2)
        self.assertEqual([body[0] for _, body in self.take_echoes(client, peer, 120)], list(range(120)))

    def test_requests_are_answered(self):
        client, peer = self.connect()
        for i in range(200):
            answer = client.request(peer, b"Ask", b"%d" % i)
            self.assertEqual((answer.kind, answer.type, answer.body), ("REPLY", b"Ask", b"%d" % i))

    def test_a_refusal_comes_with_its_acknowledgement(self):
        """Item 601 says that it has a descriptor, and comes without."""
        client, _ = self.connect()
        other, _ = self.connect()
        out, heard, take_ack = client.outflow(other.id), [], client.take_ack
        client.take_ack = lambda frame: (heard.append(frame), take_ack(frame))

        def both_until(condition):
            end = time.monotonic() + 20
            while not condition() and time.monotonic() < end:
                client.turn(0.001)
                other.turn(0.001)
            self.assertTrue(condition())

        for i in range(600):
            out.put("MESSAGE", None, bytes(1000))
        client.pump()  # so it is alone in its frame
        out.add(brood.Item("MESSAGE", 0, fds=1))
        inflow, answers = other.inflow(client.id), other.outflow(client.id)
        both_until(lambda: len(inflow.inbox) == 601)
        answers.held = True
        brood.answer_all(other, inflow)
        both_until(lambda: heard and heard[-1].acknowledge == 600)  # all but the one whose REFUSED cannot go
        answers.go()
        both_until(lambda: out.acked == 601)
        first = [frame.acknowledge for frame in heard].index(601)
        brings = [any(item.kind == "REFUSED" for item in brood.decode_items(frame.body)) for frame in heard]
        self.assertIn(True, brings[:first + 1])
        self.assertGreater(first, 2)  # it was not all in one frame

    def test_the_broker_answers(self):
        client, peer = self.connect()
        answer = client.request(0, b"brood.control.List", b"")
        listing = control.Listing.FromString(answer.body)
        self.assertEqual(sorted(process.id for process in listing.process), sorted([client.id, peer]))
        answer = client.request(0, b"no.such.Request", b"")
        self.assertEqual(answer.kind, "FAILURE")
        self.assertEqual(brood.pb.Failure.FromString(answer.body).error, "control.unknown")

    def test_a_name_has_one_holder(self):
        client, _ = self.connect()
        with self.assertRaisesRegex(brood.Refused, "name.taken"):
            client.register("conform-echo")
        with self.assertRaisesRegex(brood.Refused, "name.invalid"):
            client.register("No Name")
        client.register("mine")
        client.register("mine")

    def test_goodbye_is_told_to_the_others(self):
        client, peer = self.connect()
        client.send(peer, b"T", b"last words")
        client.send(peer, b"conform.stop", b"")
        client.wait(lambda: client.inflow(peer).inbox)
        self.assertEqual(self.take_echoes(client, peer, 1), [(b"T", b"last words")])
        client.wait(lambda: peer in client.gone)
        self.assertEqual(client.gone[peer], brood.pb.WHY_LEFT)
        self.assertEqual(client.names["conform-echo"], 0)
        self.assertEqual(self.echo.wait(10), 0)
        client.leave()

    def test_nobody_is_told(self):
        client, peer = self.connect()
        nobody = peer + 1000
        client.send(nobody, b"", b"hello?")
        client.wait(lambda: nobody in client.gone)
        self.assertEqual(client.gone[nobody], brood.pb.WHY_NOBODY)

    def test_refusals_say_why(self):
        for data, name in ((b"GET / HTTP/1.0\r\n\r\n", "frame.magic"),
                           (brood.encode_frame(brood.Frame("WATCH", body=b"\x0a\x7fcut")), "control.malformed")):
            client, _ = self.connect()
            client.unsent += data
            with self.assertRaisesRegex(brood.Refused, name):
                client.wait(lambda: False)

    def test_hold_and_go_lose_nothing(self):
        """More senders than there is room for, to a receiver that does not read."""
        clients = [self.connect()[0] for _ in range(14)]
        peer = clients[0].names["conform-echo"]
        self.echo.send_signal(signal.SIGSTOP)
        held = set()
        for number, client in enumerate(clients):
            for i in range(60):
                client.outflow(peer).put("MESSAGE", b"T", bytes([number, i]) * 32768)
        end = time.monotonic() + 10
        while len(held) < 3 and time.monotonic() < end:
            for client in clients:
                client.turn(0.001)
                if client.outflow(peer).held:
                    held.add(client)
        self.assertGreaterEqual(len(held), 3)
        self.echo.send_signal(signal.SIGCONT)
        echoes = {client: [] for client in clients}
        end = time.monotonic() + 40
        while any(len(bodies) < 60 for bodies in echoes.values()) and time.monotonic() < end:
            for client in clients:
                client.turn(0.001)
                inflow = client.inflow(peer)
                while inflow.inbox:
                    echoes[client].append(inflow.inbox[0].body)
                    inflow.done(inflow.inbox[0])
        for number, client in enumerate(clients):
            self.assertEqual(echoes[client], [bytes([number, i]) * 32768 for i in range(60)])
            self.assertFalse(client.outflow(peer).held)


if __name__ == "__main__":
    unittest.main()
