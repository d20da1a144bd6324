"""Signature version 4, written out: so that a check can sign what no client would send, and get each step wrong on purpose."""

import datetime
import hashlib
import hmac

REGION = "us-east-1"
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(time):
    return time.strftime("%Y%m%dT%H%M%SZ")


def signing_key(secret, date, region=REGION, service="s3"):
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def hmac_hex(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def canonical_query(query):
    """The parameters in the order of their names: `select` comes before `select-type`, although `-` comes before `=`."""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in pairs)


def canonical_request(method, path, query, headers, signed, payload):
    lines = "".join(f"{name}:{_value(headers[name])}\n" for name in signed)
    return f"{method}\n{path}\n{canonical_query(query)}\n{lines}\n{';'.join(signed)}\n{payload}"


def _value(value):
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    return " ".join(text.split())


def string_to_sign(time, scope, request):
    return f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode('utf-8', 'surrogateescape')).hexdigest()}"


def sign(method, path, query, headers, body, access_key, secret, *, payload=None, time=None, region=REGION):
    """Adds date, digest and Authorization to `headers`, whose names are in lower case. Answers what chunks are chained to."""
    time = stamp(time or now())
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    headers["x-amz-date"] = time
    headers["x-amz-content-sha256"] = payload or hashlib.sha256(body).hexdigest()
    signed = sorted(name for name in headers if name in ("host", "content-type", "content-md5") or name.startswith("x-amz-"))
    request = canonical_request(method, path, query, headers, signed, headers["x-amz-content-sha256"])
    key = signing_key(secret, time[:8], region)
    signature = hmac_hex(key, string_to_sign(time, scope, request))
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    return key, time, scope, signature


def presign(method, path, query, host, access_key, secret, *, expires=600, time=None):
    """The query of a presigned URL."""
    time = stamp(time or now())
    scope = f"{time[:8]}/{REGION}/s3/aws4_request"
    fields = [query] if query else []
    fields += [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        f"X-Amz-Credential={access_key}%2F{scope.replace('/', '%2F')}",
        f"X-Amz-Date={time}",
        f"X-Amz-Expires={expires}",
        "X-Amz-SignedHeaders=host",
    ]
    query = "&".join(fields)
    request = canonical_request(method, path, query, {"host": host}, ["host"], UNSIGNED)
    signature = hmac_hex(signing_key(secret, time[:8]), string_to_sign(time, scope, request))
    return f"{query}&X-Amz-Signature={signature}"


def chunked(pieces, seed, trailer=None, tamper=None):
    """A body in signed chunks (aws-chunked). `seed` is what `sign` answered; `trailer` is a header's name and value;
    `tamper` names a signature to get wrong: a chunk's number from 0, or "trailer"."""
    key, time, scope, previous = seed
    body = b""
    for number, piece in enumerate([*pieces, b""]):
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{scope}\n{previous}\n{EMPTY}\n{hashlib.sha256(piece).hexdigest()}"
        previous = hmac_hex(key, text)
        shown = wrong(previous) if tamper == number else previous
        body += f"{len(piece):x};chunk-signature={shown}\r\n".encode() + piece
        body += b"\r\n" if piece or not trailer else b""
    if trailer:
        line = f"{trailer[0]}:{trailer[1]}\n"
        digest = hashlib.sha256(line.encode()).hexdigest()
        signature = hmac_hex(key, f"AWS4-HMAC-SHA256-TRAILER\n{time}\n{scope}\n{previous}\n{digest}")
        shown = wrong(signature) if tamper == "trailer" else signature
        body += f"{trailer[0]}:{trailer[1]}\r\nx-amz-trailer-signature:{shown}\r\n\r\n".encode()
    return body


def unsigned_chunked(pieces, trailer):
    """A body in unsigned chunks with a trailer."""
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return body + f"0\r\n{trailer[0]}:{trailer[1]}\r\n\r\n".encode()


def wrong(signature):
    """Another signature: its last digit differs."""
    return signature[:-1] + ("0" if signature[-1] != "0" else "1")
