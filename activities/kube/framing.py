"""How the records of a watch follow each other on the wire."""

from __future__ import annotations

#: Bytes of the length before each frame.
_LENGTH = 4


def is_frame(record: bytes) -> bool:
    """Whether a record of a watch is a frame of protobuf; lines of JSON begin with a brace, and messages never do."""
    return not record.startswith(b"{")


def lines(sent: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines in what was sent so far, and the rest."""
    *whole, rest = sent.split(b"\n")
    return whole, rest


def frames(sent: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames in it, and the rest. Each comes after its length.

    Source: k8s.io/apimachinery/pkg/util/framer.
    """
    whole = []
    begin = 0
    while len(sent) >= (start := begin + _LENGTH):
        end = start + int.from_bytes(sent[begin:start], "big")
        if end > len(sent):
            break
        whole.append(sent[start:end])
        begin = end
    return whole, sent[begin:]
