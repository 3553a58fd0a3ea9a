"""What OpenAI's clients send, as turns or plain work of ours, and our answers in their shapes.

read        a body, leniently: what is meant, or a refusal in the client's own field names
phrases     the short phrases of clients that carry a meaning (`phrases.toml`)
names       who is named: in phrases, in `name` fields, before a colon
unfold      messages one by one, also those that a client merged into each other
scene       who the character is, what was said, and what this reply is to be
overlap     what of the client's text a character of the folder says already
translate   all of that as a ChatRequest, or as plain work of the model
answer      completions, chunks, errors and lists

Pure: no HTTP, nothing of Runpod.
"""
