"""HASH and HASH64 (MurmurHash3 as Dremio applies it), SHA-512 and AES."""

from __future__ import annotations

import hashlib
import struct
from decimal import Decimal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from embedded.dremio.errors import UnsupportedOperation
from embedded.dremio.sql.functions_python import python
from embedded.dremio.sql.kinds import BIGINT, INTEGER, VARBINARY, VARCHAR
from embedded.dremio.sql.registry import Bound, Call, add

_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def _rotated(value: int, count: int, bits: int) -> int:
    return ((value << count) | (value >> (bits - count))) & ((1 << bits) - 1)


def _mixed64(value: int) -> int:
    value = (value ^ (value >> 33)) * 0xFF51AFD7ED558CCD & _MASK64
    value = (value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53 & _MASK64
    return value ^ (value >> 33)


def murmur64(data: bytes, seed: int = 0) -> int:
    """The first half of MurmurHash3_x64_128, as a signed number."""
    first = second = seed & _MASK32
    whole = len(data) // 16 * 16
    for start in range(0, whole, 16):
        low, high = struct.unpack_from("<QQ", data, start)
        first ^= _rotated(low * _C1 & _MASK64, 31, 64) * _C2 & _MASK64
        first = ((_rotated(first, 27, 64) + second) * 5 + 0x52DCE729) & _MASK64
        second ^= _rotated(high * _C2 & _MASK64, 33, 64) * _C1 & _MASK64
        second = ((_rotated(second, 31, 64) + first) * 5 + 0x38495AB5) & _MASK64
    low = int.from_bytes(data[whole : whole + 8], "little")
    high = int.from_bytes(data[whole + 8 :], "little")
    second ^= _rotated(high * _C2 & _MASK64, 33, 64) * _C1 & _MASK64
    first ^= _rotated(low * _C1 & _MASK64, 31, 64) * _C2 & _MASK64
    first ^= len(data)
    second ^= len(data)
    first = (first + second) & _MASK64
    second = (second + first) & _MASK64
    result = (_mixed64(first) + _mixed64(second)) & _MASK64
    return result - (1 << 64) if result >> 63 else result


def murmur32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32, as a signed number."""
    hashed = seed & _MASK32
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        block = int.from_bytes(data[start : start + 4], "little") * 0xCC9E2D51 & _MASK32
        hashed ^= _rotated(block, 15, 32) * 0x1B873593 & _MASK32
        hashed = (_rotated(hashed, 13, 32) * 5 + 0xE6546B64) & _MASK32
    if whole < len(data):
        block = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & _MASK32
        hashed ^= _rotated(block, 15, 32) * 0x1B873593 & _MASK32
    hashed ^= len(data)
    hashed = (hashed ^ (hashed >> 16)) * 0x85EBCA6B & _MASK32
    hashed = (hashed ^ (hashed >> 13)) * 0xC2B2AE35 & _MASK32
    hashed ^= hashed >> 16
    return hashed - (1 << 32) if hashed >> 31 else hashed


@python("py_hash64", "BLOB BIGINT", "BIGINT")
def hash64(value: bytes, seed: int) -> int:
    """HASH64 of bytes."""
    return murmur64(value, seed)


@python("py_hash32", "BLOB BIGINT", "INTEGER")
def hash32(value: bytes, seed: int) -> int:
    """HASH of bytes."""
    return murmur32(value, seed)


@python("py_double_bytes", "DOUBLE", "BLOB")
def double_bytes(value: float) -> bytes:
    """The bytes of a DOUBLE, which is what is hashed of every number and date."""
    return struct.pack("<d", value)


@python("py_decimal_bytes", "VARCHAR", "BLOB")
def decimal_bytes(value: str) -> bytes:
    """The sixteen bytes of a DECIMAL."""
    sign, digits, _ = Decimal(value).as_tuple()
    number = int("".join(map(str, digits)))
    return (-number if sign else number).to_bytes(16, "little", signed=True)


@python("py_sha512", "VARCHAR", "VARCHAR")
def sha512(value: str) -> str:
    """SHA-512 in hexadecimal."""
    return hashlib.sha512(value.encode()).hexdigest()


def _aes(key: str) -> Cipher[modes.ECB]:
    if len(key.encode()) not in (16, 24, 32):
        raise ValueError("invalid key length")
    return Cipher(algorithms.AES(key.encode()), modes.ECB())


@python("py_aes_encrypt", "VARCHAR VARCHAR", "BLOB")
def aes_encrypt(value: str, key: str) -> bytes:
    """AES in ECB mode with PKCS7 padding."""
    padder, cipher = PKCS7(128).padder(), _aes(key).encryptor()
    return cipher.update(padder.update(value.encode()) + padder.finalize()) + cipher.finalize()


@python("py_aes_decrypt", "BLOB VARCHAR", "VARCHAR")
def aes_decrypt(value: bytes, key: str) -> str:
    """The inverse of `aes_encrypt`."""
    unpadder, cipher = PKCS7(128).unpadder(), _aes(key).decryptor()
    return (unpadder.update(cipher.update(value) + cipher.finalize()) + unpadder.finalize()).decode()


def _bytes(value: Bound) -> str:
    """What is hashed of a value."""
    name = value.kind.name if value.kind is not None else ""
    if name == "VARCHAR":
        return f"encode({value.sql})"
    if name == "VARBINARY":
        return value.sql
    if name == "DECIMAL":
        return f"py_decimal_bytes(CAST({value.sql} AS VARCHAR))"
    if name in ("INTEGER", "BIGINT", "FLOAT", "DOUBLE"):
        return f"py_double_bytes(CAST({value.sql} AS DOUBLE))"
    if name == "BOOLEAN":
        return f"py_double_bytes(CAST(CAST({value.sql} AS INTEGER) AS DOUBLE))"
    if name in ("DATE", "TIMESTAMP"):
        return f"py_double_bytes(CAST(epoch_ms(CAST({value.sql} AS TIMESTAMP)) AS DOUBLE))"
    if name == "TIME":
        return f"py_double_bytes(CAST(epoch_ms(DATE '1970-01-01' + {value.sql}) AS DOUBLE))"
    raise UnsupportedOperation(f"HASH of a value of type {name} is not supported.")


def _hash(call: Call) -> Bound:
    """HASH and HASH64: of null the seed."""
    wide = call.name == "HASH64"
    seed = call.args[1].sql if len(call.args) > 1 else "0"
    kind = BIGINT if wide else INTEGER
    if call.args[0].kind is not None and call.args[0].kind.name == "NULL":
        return Bound(f"CAST({seed} AS {kind.name})", kind)
    sql = f"py_hash{'64' if wide else '32'}({_bytes(call.args[0])}, {seed})"
    return Bound(f"CAST(coalesce({sql}, {seed}) AS {kind.name})", kind)


add("HASH HASH64", "a,i?", _hash)
add("SHA512", "s", "py_sha512({0})", VARCHAR)
add("AES_ENCRYPT", "s,s", "py_aes_encrypt({0}, {1})", VARBINARY)
add("AES_DECRYPT", "x,s", "py_aes_decrypt({0}, {1})", VARCHAR)
