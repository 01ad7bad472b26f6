"""The endpoints beside chat: embeddings, models, moderations, completions, responses."""

from world import BASE_URL, KEY_SMALL, MODEL, World, collect, settle

IDS = {"llama-3.1-8b", "gpt-4o-mini", "org/model:7b", "text-embedding-3-small", "omni-moderation-latest", "fake"}


async def embed(w: World, **options):
    r = await settle(
        w.client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], **options)
    )
    assert [d.index for d in r.data] == [0, 1] and r.usage.prompt_tokens > 0, r.usage
    assert all(isinstance(x, float) for x in r.data[0].embedding), type(r.data[0].embedding)
    assert r.data[0].embedding != r.data[1].embedding
    return r.data[0].embedding


async def check_embeddings_base64(w: World):
    # The client asks for base64 by itself and decodes it.
    assert len(await embed(w)) == 384
    assert len(await embed(w, dimensions=64)) == 64


async def check_embeddings_float(w: World):
    plain, packed = await embed(w, encoding_format="float"), await embed(w)
    assert all(abs(a - b) < 1e-6 for a, b in zip(plain, packed, strict=True))


async def check_models_list(w: World):
    models = await collect(await settle(w.client.models.list()))
    assert {m.id for m in models} == IDS, models
    assert all(m.object == "model" and m.owned_by and m.created > 0 for m in models), models
    small = w.new_client(api_key=KEY_SMALL)
    assert [m.id for m in await collect(await settle(small.models.list()))] == ["fake"]


async def check_models_retrieve(w: World):
    for model in ("llama-3.1-8b", "org/model:7b"):
        assert (await settle(w.client.models.retrieve(model))).id == model
    # People leave out /v1.
    bare = w.new_client(base_url=BASE_URL.removesuffix("/v1"))
    assert (await settle(bare.models.retrieve("org/model:7b"))).id == "org/model:7b"


async def check_moderations(w: World):
    r = await settle(w.client.moderations.create(model="omni-moderation-latest", input=["fine", "good"]))
    assert len(r.results) == 2 and r.results[0].flagged is False, r
    assert r.results[0].categories.violence is False and r.results[0].category_scores.violence < 0.5, r


async def check_completions(w: World):
    r = await settle(w.client.completions.create(model=MODEL, prompt="sim:tokens=7; once"))
    assert r.object == "text_completion" and r.choices[0].text, r
    assert r.choices[0].finish_reason == "stop" and r.usage.completion_tokens == 7, r
    r = await settle(w.client.completions.create(model=MODEL, prompt="sim:tokens=7; once", max_tokens=3))
    assert r.choices[0].finish_reason == "length" and r.usage.completion_tokens == 3, r


async def check_completions_stream(w: World):
    prompt = "sim:tokens=7; once"
    unary = await settle(w.client.completions.create(model=MODEL, prompt=prompt))
    chunks = await collect(await settle(w.client.completions.create(model=MODEL, prompt=prompt, stream=True)))
    text = "".join(c.choices[0].text for c in chunks)
    assert text and text == unary.choices[0].text, (text, unary)
    assert chunks[-1].choices[0].finish_reason == "stop" and all(c.usage is None for c in chunks), chunks


async def check_responses(w: World):
    r = await settle(w.client.responses.create(model=MODEL, input="sim:tokens=9; say", instructions="be brief"))
    assert r.object == "response" and r.status == "completed" and r.output_text, r
    assert r.usage.output_tokens == 9 and r.usage.total_tokens == r.usage.input_tokens + 9, r.usage


async def check_responses_stream(w: World):
    events = await collect(await settle(w.client.responses.create(model=MODEL, input="sim:tokens=9; say", stream=True)))
    kinds = [e.type for e in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert [e.sequence_number for e in events] == list(range(len(events))), events
    order = ["response.created", "response.output_item.added", "response.output_text.delta",
             "response.output_text.done", "response.output_item.done", "response.completed"]
    assert sorted(order, key=kinds.index) == order, kinds
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    final = events[-1].response
    assert text and text == final.output_text and final.usage.output_tokens == 9, final


async def check_request_id(w: World):
    first, second = await w.ask("one"), await w.ask("two")
    assert first._request_id and second._request_id and first._request_id != second._request_id
    raw = await settle(w.client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "three"}]))
    assert raw.headers["x-request-id"] == raw.request_id and int(raw.headers["openai-processing-ms"]) >= 0
    return first._request_id
