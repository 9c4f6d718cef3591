"""Splits the bytes of a watch into records: lines of JSON, or frames of protobuf."""

from __future__ import annotations

from collections.abc import Callable

from activities.kube import protobuf

#: Bytes of the length before each frame.
_LENGTH = 4


def splitter(media_type: str) -> Callable[[bytes], tuple[list[bytes], bytes]]:
    """The function that splits a stream of this media type into complete records and an incomplete rest."""
    return _split_frames if media_type == protobuf.MEDIA_TYPE else _split_lines


def is_frame(record: bytes) -> bool:
    """Whether a record is a frame of protobuf: lines of JSON begin with a brace, and frames never do."""
    return not record.startswith(b"{")


def _split_lines(buffer: bytes) -> tuple[list[bytes], bytes]:
    *lines, rest = buffer.split(b"\n")
    return lines, rest


def _split_frames(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Each frame follows its length. Source: k8s.io/apimachinery/pkg/util/framer."""
    frames = []
    begin = 0
    while len(buffer) >= (start := begin + _LENGTH):
        end = start + int.from_bytes(buffer[begin:start], "big")
        if end > len(buffer):
            break
        frames.append(buffer[start:end])
        begin = end
    return frames, buffer[begin:]
