"""A GET and a POST of 100 kB by one library, which knows of proxy and certificates only what its environment says.

    python clients.py LIBRARY ORIGIN
"""

import asyncio
import json
import sys

BODY = json.dumps({"customer_id": "u-1042", "text": "x" * 100_000}).encode()
TYPE = {"content-type": "application/json"}


def with_requests(get, post):
    import requests

    with requests.Session() as session:
        yield session.get(get).status_code
        yield session.post(post, data=BODY, headers=TYPE).status_code


def with_httpx(get, post):
    import httpx

    with httpx.Client() as client:
        yield client.get(get).status_code
        yield client.post(post, content=BODY, headers=TYPE).status_code


def with_aiohttp(get, post):
    import aiohttp

    async def both():
        # aiohttp looks into its environment only when it is told to.
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.get(get) as response:
                await response.read()
                first = response.status
            async with session.post(post, data=BODY, headers=TYPE) as response:
                await response.read()
                return first, response.status

    yield from asyncio.run(both())


def with_urllib(get, post):
    import urllib.request

    with urllib.request.urlopen(get) as response:
        response.read()
        yield response.status
    with urllib.request.urlopen(urllib.request.Request(post, BODY, TYPE)) as response:
        response.read()
        yield response.status


def with_openai(get, post):
    """Answers of a model, whole and as a stream of events; the URLs are those of the fake."""
    import openai

    origin = get.rsplit("/v1/", 1)[0]
    client = openai.OpenAI(base_url=f"{origin}/v1", api_key="none", max_retries=0)
    response = client.responses.create(model="gpt-5-mini", input="x" * 100_000)
    yield 200 if response.output_text == "hello" else 0
    with client.responses.create(model="gpt-5-mini", input="hi", stream=True) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    yield 200 if deltas == ["hel", "lo"] else 0


def main(library, origin):
    statuses = globals()[f"with_{library}"](f"{origin}/v1/orders/7?customer=u-1042", f"{origin}/v1/search")
    print(*statuses)


main(*sys.argv[1:])
