# SPDX-License-Identifier: Apache-2.0
"""The key where it must not go. After every other row, too, it is looked for everywhere."""

import json
from functools import partial

from faults.fault import BOTH, GEMINI, Fault, Inject, Outcome, fails, refuses, stops
from faults.injections import always, both, everything, given
from faults.stage import KEY
from support.http_answer import answer
from support.loopback import Answer

row = partial(Fault, "secret")
ONE = given("workflow.max_attempts=1")
ON_THE_LINE = "a key on the command line can be read by every user of the machine"
WRONG = "a-wrong-key-of-the-matrix-5e81"


def wire(*parts: bytes) -> Answer:
    return Answer(parts=lambda: parts)


def echo(status: int) -> Answer:
    """An error that repeats the key, in its words and in its headers."""
    return Answer(status=status, message=f"who is {KEY}?", headers={"x-key": KEY})


def key_of(value: str) -> Inject:
    """Another key in the environment."""
    return given(MATRIX_KEY=value, GOOGLE_API_KEY=value)


def reply_of_step_0() -> str:
    named = [{"text": f"a {KEY}", "noun_chunk": KEY}, {"text": "a red rectangle"}]
    return json.dumps({"cleaned_caption": f"A red rectangle {KEY}", "expressions": named})


# fmt: off
FAULTS = (
    *(row(f"the endpoint repeats it in an HTTP {status}", both(ONE, always(echo(status))),
        fails(reason, "who is (key)?"), BOTH) for status, reason in ((400, "rejected_request"),
        (403, "key_refused"), (500, "server_fault"))),
    row("the endpoint refuses it and repeats it", everything(echo(401)),
        stops("the endpoint refused the key (HTTP 401: who is (key)?)"), BOTH),
    row("the endpoint repeats it in a web page", both(ONE,
        always(Answer(raw=f"<html>{KEY}</html>".encode()))), fails("server_fault"), BOTH),
    row("the endpoint repeats it in a redirect", everything(wire(answer(status=307,
        location=f"/login?key={KEY}"))), stops("the endpoint redirects to /login"), BOTH),
    row("the model repeats it in step 0", always(Answer(text=reply_of_step_0()), "0"), Outcome(0,
        "it is cut out of the reply", failed=None), BOTH),
    row("the model repeats it in step 1", always(Answer(text=f"the key is {KEY}"), "1"),
        fails("reply_unparseable"), BOTH),
    row("it is given on the command line", given(f"vlm.openai.api_key={WRONG}"),
        refuses(ON_THE_LINE)),
    row("it is given on the command line, for Gemini", given(f"vlm.gemini.api_key={WRONG}"),
        refuses(ON_THE_LINE)),
    row("it is in the address on the command line",
        given(f"vlm.openai.base_url=http://me:{WRONG}@127.0.0.1/v1"), refuses(ON_THE_LINE)),
    row("it is in the query of the address on the command line",
        given(f"vlm.openai.base_url=http://127.0.0.1/v1?key={WRONG}"), refuses(ON_THE_LINE)),
    row("it is a header on the command line", given(f"vlm.openai.extra_headers.api-key={WRONG}"),
        refuses(ON_THE_LINE)),
    row("it holds a line break", key_of(f"{WRONG}\n"),
        stops("the key holds a line break or another character"), BOTH),
    row("it holds a letter that is no ASCII", key_of("schl\u00fcssel-of-the-matrix"),
        stops("the key holds a line break or another character")),
    row("it is empty", key_of(""), stops("refused the key")),
    row("it is empty, for Gemini", key_of(""), stops("no key for Gemini"), GEMINI),
    row("it is the wrong one, which the endpoint repeats", key_of(WRONG),
        stops("Incorrect API key provided: (key)"), GEMINI),
    row("its variable is not set", given("vlm.openai.api_key='${oc.env:NOT_SET_AT_ALL}'"),
        refuses("the environment variable NOT_SET_AT_ALL is not set")),
    row("it is a header from the environment",
        both(given("vlm.openai.extra_headers.x-key='${oc.env:MATRIX_KEY}'"), always(echo(400))),
        fails("rejected_request", "who is (key)?")),
    row("it is in the address, from the environment", both(lambda stage:
        given("vlm.openai.base_url='${oc.env:ADDRESS}'", ADDRESS=stage.server.base_url +
        f"?key={KEY}")(stage), always(echo(400))), fails("rejected_request", "who is (key)?")),
    row("a proxy's password that is wrong", given(ALL_PROXY=f"http://me:{WRONG}@127.0.0.1:9",
        HTTP_PROXY=f"http://me:{WRONG}@127.0.0.1:9", NO_PROXY=""),
        stops("cannot reach the proxy http://127.0.0.1:9"), BOTH),
)
