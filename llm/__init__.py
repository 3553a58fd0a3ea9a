"""Language models, all behind one contract: LangChain's `BaseLLM` over a raw prompt.

    llm.astream(prompt, stop=[...], max_new_tokens=..., temperature=..., top_p=..., top_k=...,
                min_p=..., repetition_penalty=..., seed=...,      only what is set is passed
                choice=["Sera", "Narrator"])   write one of these, if the backend can see to it

yields the reply's pieces as `str`, some of them empty; an empty reply is one, too. Where the
model's format is `chat`, the prompt comes a second time as `messages=[{"role", "content"}, ...]`: a
backend that has a chat endpoint sends those instead, any other ignores them. What else there is to
know about a reply goes the way that LangChain has for it, `generation_info`, read in a callback:

    class Ending(AsyncCallbackHandler):
        async def on_llm_end(self, response: LLMResult, **_: Any) -> None:
            self.info = response.generations[0][0].generation_info or {}

    ending = Ending()
    async with aclosing(llm.astream(prompt, config={"callbacks": [ending]}, ...)) as pieces:
        ...

    {"finish_reason": "stop" | "length",
     "usage": {"prompt_tokens", "completion_tokens", "total_tokens", ["cached_tokens"],
               ["estimated"]}}

`astream` adds up all chunks of a reply before `on_llm_end`, and adding joins equal keys: strings
are concatenated ("stop" + "stop"), integers summed. So a backend of ours puts `generation_info` on
one chunk only, the last, whose text is empty. `usage` is absent where a server does not report it.

What is known before the end goes to the callback alone, in the chunk of `on_llm_new_token`:
`{"usage": {...}}` so far, for a reader that leaves early, and with an empty text `{"reading": 40}`,
per cent of the prompt that are read.

A failure raises `LLMError`. All that was written before it has been yielded by then, so a reader
that keeps the pieces has the partial reply. `aclosing` ends the work as soon as the reader leaves,
which is how a caller limits the time, too.
"""
