"""The links: bytes in and out over serial ports, TCP, UDP, memory and recorded traces, chosen by URL.

Each module has the implementations of `acquisition.interfaces.Transport` over one medium; `url` turns a link URL into
one of them. Every link that carries a stream of bytes is bounded: a session that falls behind slows the sender where
the medium can (TCP, RTS/CTS, memory) and otherwise leaves the excess to the kernel. A UDP socket has no such means;
what it must drop it counts.
"""
