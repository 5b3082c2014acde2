"""WebSocket: one text frame a record (RFC 6455); these are the payloads, in UTF-8."""

from app.encoding.envelope import encode_control, encode_message

__all__ = ["encode_control", "encode_message"]
