"""A client of servers on Unix sockets that keeps many requests in flight."""

import os
import re
import selectors
import socket

TIMEOUT = 30
LENGTH = re.compile(rb"Content-Length: (\d+)", re.IGNORECASE)


class Pipelined:
    def __init__(self, path):
        self.path, self.socket, self.left = str(path), None, b""

    def connect(self):
        """By way of its directory: the path of a Unix socket holds 107 bytes only."""
        directory = os.open(os.path.dirname(self.path), os.O_PATH)
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(f"/proc/self/fd/{directory}/{os.path.basename(self.path)}")
        finally:
            os.close(directory)
        return True

    def close(self):
        self.socket.close()

    def send(self, ask):
        self.socket.sendall(ask)

    def exchange(self, ask, answer_bytes):
        """Sends all of `ask` while reading; the first answer_bytes of the answer."""
        got, sent = bytearray(), 0
        self.socket.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while len(got) < answer_bytes:
                events = ready.select(TIMEOUT)
                if not events:
                    break
                mask = events[0][1]
                if mask & selectors.EVENT_WRITE:
                    sent += self.socket.send(ask[sent:sent + 65536])
                    if sent == len(ask):
                        ready.modify(self.socket, selectors.EVENT_READ)
                if mask & selectors.EVENT_READ:
                    data = self.socket.recv(1 << 20)
                    if not data:
                        break
                    got += data
        self.socket.settimeout(TIMEOUT)
        return bytes(got)

    # ---- HTTP 1.1, kept alive ----

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise OSError("the server closed the connection")
        self.left += data

    def until(self, mark):
        """What comes before and with `mark`."""
        while mark not in self.left:
            self.fill()
        head, _, self.left = self.left.partition(mark)
        return head + mark

    def exactly(self, n):
        while len(self.left) < n:
            self.fill()
        data, self.left = self.left[:n], self.left[n:]
        return data

    def body(self):
        """The body of the next answer, whole or in chunks."""
        head = self.until(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.split(b"\r\n")[0].decode())
        length = LENGTH.search(head)
        if length:
            return self.exactly(int(length.group(1)))
        body = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            chunk = self.exactly(size + 2)[:-2]
            if size == 0:
                return body
            body += chunk

    def http(self, ask):
        self.send(ask)
        return self.body()

    def read_http_answers(self, n):
        """Reads n answers; how many bytes their bodies have."""
        return sum(len(self.body()) for _ in range(n))
