"""Words and formats of prompts.

The API for the graph (all pure functions, no I/O but templates read once):

    from prompts.plan import plan
    from prompts.tokens import estimator, tokenizer_count
    from nodes.build_prompt import build_prompt
    from llm.presets import preset_for

    preset = preset_for("PygmalionAI/Pygmalion-3-12B")      # a table row: llm/models.toml
    layout = preset.layout(max_new_tokens=300)              # PromptLayout, schemas/rag.py
    count = estimator(preset.tokens)                        # or tokenizer_count(path), once
    given = PromptBuildInput(persona=..., history=request.history, user_message=...,
                             user_name=request.user_name, layout=layout)
    planned = plan(given, count)                            # BEFORE retrieval: rows from
                                                            # planned.verbatim_from on stay
    # ... retrieve, route, then
    given = given.model_copy(update={"chat_context": ..., "story_context": ..., "speaker": ...,
                                     "narrator_only": ..., "direction": ..., "state": ...})
    output = build_prompt(given, count=count, planned=planned)
    output.prompt, output.stop, output.speaker_name, output.meta   # meta: prompts.ledger.Ledger

`history` is the whole history as it was sent: plan and build_prompt cut it at the same row.
Retrieved chunks may carry in `meta`: `row` (of the history), `name` (who said it), `order` and
`time` of an event. They are listed by row or order, then by id.
"""
