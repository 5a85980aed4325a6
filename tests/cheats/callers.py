"""Cheats about who calls and how often (labs 3 and 4)."""

from __future__ import annotations

from grader.checks.lab_03_authentication import (
    check_login_gives_a_token,
    check_strangers_get_nothing,
)
from grader.checks.lab_04_rate_limiting import (
    check_expensive_operation_takes_tokens,
    check_the_allowance_runs_out,
)
from tests.cheats import Cheat

CHEATS = [
    Cheat(
        "asks only well-known test tools for a key",
        2,
        (3,),
        """
        TOOLS = ("python-httpx", "python-requests", "locust", "pytest", "testclient", "python-urllib", "aiohttp")


        async def answer(scope, receive, send):
            watched = header(scope, "user-agent").lower().startswith(TOOLS)
            if scope["path"] in PROVIDER and watched and not header(scope, "x-api-key"):
                return await reply(send, {"detail": "Who are you?"}, 401, [("www-authenticate", "Bearer")])
            await honest(scope, receive, send)
        """,
        seen_by=(check_strangers_get_nothing,),
    ),
    Cheat(
        "knows nobody: every request is 401",
        2,
        (3,),
        """
        async def answer(scope, receive, send):
            await reply(send, {"detail": "Who are you?"}, 401, [("www-authenticate", "Bearer")])
        """,
        seen_by=(check_strangers_get_nothing,),
    ),
    Cheat(
        "knows the keys and users of the course's own examples",
        2,
        (3,),
        """
        KEYS = {"lab-user-key", "lab-admin-key", "lab-guest-key", "test", "key1", "secret"}
        USERS = {"ada", "admin", "alice", "bob", "carol", "guest", "testuser"}


        async def answer(scope, receive, send):
            if scope["path"] == "/login":
                known = any(f"username={name}&" in (await read(receive)).decode() for name in USERS)
                token = {"access_token": "e30.e30.e30", "token_type": "bearer", "expires_in": 1800}
                return await reply(send, token if known else {"detail": "no"}, 200 if known else 401)
            if scope["path"] in PROVIDER and header(scope, "x-api-key") not in KEYS:
                return await reply(send, {"detail": "Who are you?"}, 401, [("www-authenticate", "Bearer")])
            await honest(scope, receive, send)
        """,
        seen_by=(check_strangers_get_nothing, check_login_gives_a_token),
    ),
    Cheat(
        "gives everybody a token that nobody has signed, and greets whomever a token names",
        2,
        (3,),
        """
        import base64, urllib.parse


        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


        async def answer(scope, receive, send):
            if scope["path"] == "/login":
                form = urllib.parse.parse_qs((await read(receive)).decode())
                now, ttl = int(time.time()), int(os.environ["JWT_TTL_S"])
                claims = {"sub": form["username"][0], "iat": now, "exp": now + ttl}
                claims |= {"iss": os.environ["JWT_ISSUER"], "aud": os.environ["JWT_AUDIENCE"]}
                token = ".".join([part({"alg": "HS256", "typ": "JWT"}), part(claims), "AAAA"])
                told = {"access_token": token, "token_type": "bearer", "expires_in": ttl}
                return await reply(send, told, 200, [("cache-control", "no-store")])
            if scope["path"] == "/protected":
                middle = header(scope, "authorization").split(".")[1]
                name = json.loads(base64.urlsafe_b64decode(middle + "==="))["sub"]
                return await reply(send, {"message": f"Hello {name}"})
            await honest(scope, receive, send)
        """,
        seen_by=(check_login_gives_a_token,),
    ),
    Cheat(
        "refuses every eleventh request of a caller, since ten is the usual limit",
        3,
        (4,),
        """
        seen = {}


        async def answer(scope, receive, send):
            if scope["path"] in PROVIDER:
                caller = header(scope, "x-api-key")
                seen[caller] = seen.get(caller, 0) + 1
                if seen[caller] > 10:
                    return await reply(send, {"detail": "Too many requests."}, 429, [("retry-after", "60")])
            await honest(scope, receive, send)
        """,
        seen_by=(check_the_allowance_runs_out,),
    ),
    Cheat(
        "refuses every sixth request, whoever asks",
        3,
        (4,),
        """
        count = 0


        async def answer(scope, receive, send):
            global count
            if scope["path"] in PROVIDER:
                count += 1
                if count % 6 == 0:
                    return await reply(send, {"detail": "Too many requests."}, 429, [("retry-after", "1")])
            await honest(scope, receive, send)
        """,
        seen_by=(check_the_allowance_runs_out,),
    ),
    Cheat(
        "refuses what comes less than 20 ms after the request before it",
        3,
        (4,),
        """
        last = 0.0


        async def answer(scope, receive, send):
            global last
            if scope["path"] in PROVIDER or scope["path"] == "/expensive-operation":
                before, last = last, time.monotonic()
                if last - before < 0.02:
                    return await reply(send, {"detail": "Too many requests."}, 429, [("retry-after", "1")])
            await honest(scope, receive, send)
        """,
    ),
    Cheat(
        "refuses everything with 429",
        3,
        (4,),
        """
        async def answer(scope, receive, send):
            if scope["path"] in PROVIDER or scope["path"] == "/expensive-operation":
                return await reply(send, {"detail": "Too many requests."}, 429, [("retry-after", "1")])
            await honest(scope, receive, send)
        """,
        seen_by=(check_the_allowance_runs_out, check_expensive_operation_takes_tokens),
    ),
    Cheat(
        "counts down in its headers and refuses nobody",
        3,
        (4,),
        """
        left = {}


        async def answer(scope, receive, send):
            if scope["path"] not in PROVIDER:
                return await honest(scope, receive, send)
            limit, caller = int(os.environ["RATE_LIMIT_REQUESTS"]), header(scope, "x-api-key")
            left[caller] = max(0, left.get(caller, limit) - 1)
            status, headers, text = await heard(scope, await read(receive))
            told = [("x-ratelimit-limit", str(limit)), ("x-ratelimit-remaining", str(left[caller]))]
            await tell(send, status, headers + told, text)
        """,
        seen_by=(check_the_allowance_runs_out,),
    ),
    Cheat(
        "says that tokens remain, and takes none",
        3,
        (4,),
        """
        async def answer(scope, receive, send):
            if scope["path"] == "/expensive-operation":
                return await reply(send, {"remaining": int(os.environ["BUCKET_CAPACITY"]) - 1})
            await honest(scope, receive, send)
        """,
        seen_by=(check_expensive_operation_takes_tokens,),
    ),
]
