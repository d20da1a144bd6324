"""Whether a server speaks S3: small checks, each of which says what S3 answers and what came instead.

    python testing/s3/conformance --endpoint http://127.0.0.1:9000 [--access-key K --secret-key S] [WHICH …]

WHICH names groups or checks (`multipart`, `multipart.parts_in_any_order`). Without keys it signs with invented ones, for a
server that asks for none; checks of who may come in need the keys that they say. The exit status is 1 if a check failed.
"""

import sys

sys.dont_write_bytecode = True  # The sources may lie where nothing is to be written.

import argparse
import concurrent.futures
import importlib
import time
import traceback

from suite import CHECKS, Context, Keys, Server

GROUPS = [
    "access",
    "buckets",
    "bulk",
    "checksums",
    "conditions",
    "copying",
    "forms",
    "listing",
    "locks",
    "multipart",
    "objects",
    "presigned",
    "settings",
    "signatures",
    "streaming",
    "tags",
    "unsupported",
    "versions",
]
WORKERS = 6


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    for who, what in [
        ("", "whoever runs the checks"),
        ("other-", "a key of another owner"),
        ("expired-", "a key that has expired"),
        ("disabled-", "a key that was disabled"),
    ]:
        parser.add_argument(f"--{who}access-key", help=what)
        parser.add_argument(f"--{who}secret-key")
    parser.add_argument("--virtual-host", metavar="DOMAIN", help="the domain below which buckets are hosts")
    parser.add_argument("--sigv2", action="store_true", help="presigned URLs of signature version 2 are accepted")
    parser.add_argument("--skip", action="append", default=[], metavar="WHICH", help="groups or checks to leave out")
    parser.add_argument("--known", metavar="FILE", help="checks that are known not to hold, one a line: told, and not counted")
    parser.add_argument("which", nargs="*", metavar="WHICH")
    return parser.parse_args()


def keys_of(options, who=""):
    access_key = getattr(options, f"{who}access_key")
    return Keys(access_key, getattr(options, f"{who}secret_key")) if access_key else None


def chosen(options):
    def names(check, words):
        return any(check.full_name == word or check.__module__ == word for word in words)

    for check in CHECKS:
        if (not options.which or names(check, options.which)) and not names(check, options.skip):
            yield check


def run(check, server, given):
    """What to print of a check, and whether it counts as `ok`, `FAIL` or `skip`."""
    missing = [need for need in check.needs if need not in given]
    if missing:
        return "skip", f"needs {', '.join(missing)}"
    context = Context(server)
    begun = time.monotonic()
    try:
        check(context)
        verdict, text = "ok", f"{time.monotonic() - begun:.1f} s"
    except AssertionError as error:
        verdict, text = "FAIL", f"{error or 'assertion'} ({where(error)})"
    except Exception as error:  # Whatever a client raises is an answer that it did not expect.
        verdict, text = "FAIL", f"{type(error).__name__}: {error} ({where(error)})"
    finally:
        context.clean()
    return verdict, " ".join(text.split())


def where(error):
    """The line of the check itself that failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/conformance/" in frame.filename]
    last = [frame for frame in frames if not frame.filename.endswith(("suite.py", "__main__.py"))] or frames
    return f"{last[-1].filename.rsplit('/', 1)[-1]}:{last[-1].lineno}"


def main():
    options = arguments()
    for group in GROUPS:
        importlib.import_module(group)
    keys = keys_of(options)
    others = {name: keys_of(options, f"{name}_") for name in ("other", "expired", "disabled")}
    given = {name for name, value in others.items() if value} | ({"auth"} if keys else set())
    given |= {name for name in ("virtual_host", "sigv2") if getattr(options, name)}
    server = Server(options.endpoint, keys or Keys("any", "anything"), virtual_host=options.virtual_host, **others)
    counts = {"ok": 0, "FAIL": 0, "skip": 0, "known": 0}
    known = set()
    if options.known:
        with open(options.known, encoding="utf-8") as lines:
            known = {line.split("#")[0].strip() for line in lines} - {""}
    checks = list(chosen(options))
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        running = {pool.submit(run, check, server, given): check for check in checks}
        for done in concurrent.futures.as_completed(running):
            verdict, text = done.result()
            if verdict == "FAIL" and running[done].full_name in known:
                verdict = "known"
            counts[verdict] += 1
            print(f"{verdict:4} {running[done].full_name}: {text}", flush=True)
    print(f"{counts['ok']} checks hold, {counts['FAIL']} do not, {counts['known']} are known not to, {counts['skip']} were left out")
    return 1 if counts["FAIL"] or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
