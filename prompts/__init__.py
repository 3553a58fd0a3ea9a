"""Words, budget and format of prompts.

For the graph, all pure functions, without I/O but templates that are read once:

    given = before_retrieval(request, lore, layout)     # prompts.plan; layout: schemas.rag
    planned = plan(given, count)                        # what stays verbatim; count: prompts.tokens
    given = with_retrieved(given, lore, chat, story, route, progress)          # prompts.build
    output = build_prompt(given, count=count, planned=planned)
    output.prompt, output.stop, output.speaker_name, output.meta   # meta: schemas.rag.Ledger

`history` is the whole history as it was sent: the plan cuts it. Retrieved chunks may carry in
`meta`: `row` (of the history), `name` (who said it), `order` and `time` of an event. They are
listed by row or order, then by id.
"""
