"""WebSocket: one text frame a record (RFC 6455); these are the payloads, in UTF-8."""

from riptide.encoding.envelope import encode_control, encode_message

__all__ = ["encode_control", "encode_message"]
