"""The shapes of requests: what client libraries and chat programs send, by kind.

Written by hand after what they were seen to send, or after their documentation: openai for Python
and Node, litellm, LangChain, LlamaIndex, the AI SDK, Open WebUI, LibreChat, NextChat, Chatbox.
"""

from __future__ import annotations

from typing import Any

from tests.clients.door import said

JSON = dict[str, Any]


def user(content: Any, **more: Any) -> JSON:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> JSON:
    return {"role": "assistant", "content": content, **more}


def system(content: Any, **more: Any) -> JSON:
    return {"role": "system", "content": content, **more}


def text(words: str) -> JSON:
    return {"type": "text", "text": words}


NULLS = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOLS = [{"type": "function", "function": {"name": "web", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "web", "arguments": "{}"}}
BEFORE = [user("Is the lamp lit?"), assistant(said(1))]

ECHOED: dict[str, JSON] = {
    "openai, model_dump": assistant(said(1), **NULLS, tool_calls=None),
    "openai, .stream()": assistant(said(1), **NULLS, tool_calls=None, parsed=None),
    "openai for Node, finalMessage": assistant(said(1), refusal=None, parsed=None),
    "litellm": assistant(said(1), provider_specific_fields={"refusal": None}),
    "the AI SDK keeps white space": assistant(said(1) + " \n"),
    "no tool calls": assistant(said(1), tool_calls=[]),
    "of a reasoning model": assistant(said(1), reasoning_content="Hm.", reasoning=None),
    "with an id and a time": assistant(said(1), id="m1", timestamp=1, model="Sera"),
    "parts": assistant([text(said(1))]),
    "parts with a refusal": assistant([text(said(1)), {"type": "refusal", "refusal": ""}]),
    "named": assistant(said(1), name="Sera"),
}  # fmt: skip


BESIDE: dict[str, JSON] = {
    "tools": {"tools": TOOLS},
    "tools, auto": {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True},
    "tools, none": {"tools": TOOLS, "tool_choice": "none"},
    "functions of old": {"functions": [{"name": "f", "parameters": {}}], "function_call": "auto"},
    "no tools": {"tools": [], "tool_choice": None},
    "a length of 16,000": {"max_tokens": 16000},
    "a length of -1": {"max_tokens": -1},
    "no length": {"max_tokens": 0, "max_completion_tokens": None},
    "both lengths": {"max_tokens": 300, "max_completion_tokens": 16000},
    "any seed": {"seed": -1},
    "a large seed": {"seed": 2**53},
    "an empty stop": {"stop": [""]},
    "an empty stop text": {"stop": ""},
    "many stops": {"stop": [f"<end {n}>" for n in range(20)]},
    "a null stop": {"stop": None},
    "a high temperature": {"temperature": 5},
    "a negative top_k": {"top_k": -1, "top_p": 1, "min_p": 0},
    "numbers as text": {"temperature": "0.7", "max_tokens": "200"},
    "samplers of llama.cpp": {
        "repeat_penalty": 1.1, "typical_p": 1, "tfs_z": 1, "mirostat": 0, "mirostat_eta": 0.1,
        "mirostat_tau": 5, "repeat_last_n": 64, "num_ctx": 8192, "num_keep": 24,
        "cache_prompt": True, "dry_multiplier": 0, "xtc_probability": 0,
        "dynatemp_range": 0, "grammar": "",
    },
    "settings of Ollama": {"keep_alive": "5m", "think": False, "use_mmap": True, "options": {}},
    "settings of vLLM": {
        "chat_template_kwargs": {"enable_thinking": False}, "ignore_eos": False, "best_of": 1,
        "add_generation_prompt": False, "continue_final_message": True, "include_reasoning": True,
    },
    "settings of OpenAI": {
        "logit_bias": {"50256": -100}, "reasoning_effort": "low", "service_tier": "auto",
        "store": False, "metadata": {"a": "b"}, "prompt_cache_key": "k", "user": "u1",
        "presence_penalty": 0.2, "frequency_penalty": 0, "logprobs": False, "top_logprobs": None,
        "response_format": {"type": "text"}, "modalities": ["text"], "n": 1, "stream_options": None,
    },
    "LibreChat": {
        "user": "6530", "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0
    },
    "no streaming": {"stream": False, "stream_options": {}},
    "fields of no one": {"my_own_field": {"a": [1]}, "x-y": None},
}  # fmt: skip


CHATS: dict[str, tuple[list[JSON], str, list[str]]] = {
    # messages, the reply, what the prompt holds
    "nothing of the user": ([system("The lamp is out.")], said(1), ["lamp is out"]),
    "a greeting alone": ([system("Dusk."), assistant("Come in.")], said(1), ["Come in."]),
    "an empty line": ([*BEFORE, user("")], said(2), []),
    "a blank line": ([*BEFORE, user(" \n")], said(2), []),
    "nothing in the line": ([*BEFORE, user(None)], said(2), []),
    "no parts": ([*BEFORE, user([])], said(2), []),
    "two lines of the user": ([*BEFORE, user("Wait."), user("Look!")], said(2), ["Wait.", "Look!"]),
    "two replies": ([*BEFORE, assistant("And then?"), user("So?")], said(2), ["And then?"]),
    "a system line at the end": ([*BEFORE, user("So?"), system("Be brief.")], said(2), ["brief"]),
    "a system line between": ([*BEFORE, system("Fog."), user("So?")], said(2), ["Fog."]),
    "a developer's line": (
        [{"role": "developer", "content": "Whisper always."}, user("So?")], said(1), ["Whisper"]
    ),
    "only lines of the user": ([user("Oh."), user("So?")], said(1), ["Oh.", "So?"]),
    "two system lines": ([system("A one."), system("A two."), user("So?")], said(1), ["A two."]),
    "an empty system line": ([system(""), user("So?")], said(1), ["So?"]),
    "a tool was called": (
        [*BEFORE, user("So?"), assistant(None, tool_calls=[CALL]),
         {"role": "tool", "tool_call_id": "c1", "content": "It is 7 o'clock."}],
        said(2), ["So?"],
    ),
    "a tool was called before": (
        [user("So?"), assistant("", tool_calls=[CALL]),
         {"role": "tool", "tool_call_id": "c1", "name": "web", "content": [text("7")]},
         assistant(said(1)), user("Late!")],
        said(2), ["Late!"],
    ),
    "a function was called": (
        [*BEFORE, {"role": "function", "name": "f", "content": "7"}, user("Late!")],
        said(2), ["Late!"],
    ),
    "a picture": ([*BEFORE, user([text("See?"), PICTURE])], said(2), ["See?", "[image]"]),
    "a picture alone": ([*BEFORE, user([PICTURE])], said(2), ["[image]"]),
    "a picture before": ([user([PICTURE]), assistant(said(1)), user("So?")], said(2), ["[image]"]),
    "a picture in Korean": (
        [user("등대가 보여요."), assistant(said(1)), user([text("이거 보세요."), PICTURE])],
        said(2), ["이거 보세요.", "[사진]"],
    ),
    "sound and a file": (
        [user([text("Hear."),
               {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
               {"type": "file", "file": {"filename": "a.pdf", "file_data": "base64,AAAA"}}])],
        said(1), ["Hear."],
    ),
    "parts of two texts": (
        [user([text("First."), text("Second.")])], said(1), ["First.", "Second."],
    ),
    "a part as plain text": ([user(["Plain."])], said(1), ["Plain."]),
    "a shorter answer wished": ([*BEFORE, user("More concise.")], said(2), ["More concise."]),
    "files of Open WebUI": (
        [*BEFORE, user("### Task:\nRespond to the user query using the provided context.\n\n"
                       '<context>\n<source id="1" name="log.txt">The lamp failed in May.</source>\n'
                       "</context>\n\nWhen did it fail?")],
        said(2), ["failed in May", "When did it fail?"],
    ),
    "Korean": (
        [user("안녕하세요? 문 열렸어요?"), assistant(said(1)), user("들어가도 될까요?")], said(2),
        ["들어가도 될까요?"],
    ),
}  # fmt: skip


PERSONA = "You are Ragna, a smith who lost an eye at Uppsala. You speak in short sentences."


HISTORY = "<chat_history>\nUSER: Is the lamp lit?\nASSISTANT: It is.\n</chat_history>"
JSON_WANTED = "Answer with a JSON object alone."
OPENINGS = {
    "title": "Generate a concise title summarizing the chat history.",
    "title of old": "Generate a concise, 3-5 word title with an emoji.",
    "tags": "Generate 1-3 broad tags categorizing the main themes of the chat history.",
    "follow-ups": "Predict 3-5 useful messages this user might naturally send next.",
    "follow-ups of old": "Suggest 3-5 relevant follow-up questions or prompts.",
    "queries": "Analyze the chat history to determine the necessity of generating search queries.",
    "picture": "Generate a detailed prompt for am image generation task.",
    "completion": "You are an autocompletion system. Continue the text in `<text>`.",
    "of an administrator's own": "채팅의 제목을 지어 주세요.",
}
TASKS: dict[str, list[JSON]] = {
    name: [user(f"### Task:\n{words}\n### Output:\n{JSON_WANTED}\n### Chat History:\n{HISTORY}")]
    for name, words in OPENINGS.items()
} | {
    "compaction": [
        user("### Task:\nSummarize the conversation history that will be compacted. JSON.\n\n"
             "### Messages Being Compacted:\nUSER: Is the lamp lit?")
    ],
    "LibreChat's title": [
        user("Provide a concise, 5-word-or-less title for the conversation, using title case "
             "conventions. Only return the title itself. No JSON.\n\nConversation:\n"
             "User: Is it lit?\nAI: Yes.")
    ],
    "NextChat's title": [
        *BEFORE,
        user("Please generate a four to five word title summarizing our conversation without any "
             "lead-in, punctuation or JSON."),
    ],
    "NextChat's summary": [
        *BEFORE,
        system("Summarize the discussion briefly in 200 words or less to use as a prompt for "
               "future context. No JSON."),
    ],
    "Chatbox's title": [
        user("Based on the chat history, give this conversation a name. No JSON.\n"
             "```\nIs it lit?\n```")
    ],
}  # fmt: skip


PLAYED = [
    # lines of a player that look like a task
    "Please suggest a topic for our conversation tonight.",
    "Give me a title for the story of our conversation.",
    "Based on our conversation, what name would you give the cat?",
    "Create a new title for the sign of the chat club.",
    "### Task: find the key\nI look under the mat.",
    "Summarize the conversation you had with the mayor.",
    "Ignore previous orders! I shout at the soldiers.",
    "Stop the roleplay of being brave, Sera.",
    "Write me a summary of your day.",
    "Translate this letter for me.",
    "이 대화의 제목을 지어 줘, 세라.",
    "우리 대화를 요약해 볼래?",
    "이전 규칙은 모두 무시하고 나랑 춤추자.",
    "나 대신 편지를 써 줘.",
]


WRONG: dict[str, tuple[JSON, int, str | None]] = {
    # what is sent beside or instead of one line of the user, the status, the field
    "a tool is demanded": ({"tools": TOOLS, "tool_choice": "required"}, 400, "tool_choice"),
    "this tool is demanded": (
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "web"}}},
        400, "tool_choice",
    ),
    "JSON is demanded": ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    "a schema is demanded": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "X", "schema": {}}}},
        400, "response_format",
    ),
    "odds are demanded": ({"logprobs": True, "top_logprobs": 3}, 400, "logprobs"),
    "too many replies": ({"n": 100}, 400, "n"),
    "no such model": ({"model": "gpt-4"}, 404, "model"),
    "a model that is no name": ({"model": 7}, 400, "model"),
    "a misspelt setting": ({"temprature": 1}, 400, "temprature"),
    "a misspelt list": ({"mesages": [user("Hello.")], "messages": None}, 400, "mesages"),
    "a misspelt part of ours": ({"persona": {"naem": "Ragna"}}, 400, "persona.naem"),
    "no messages": ({"messages": None}, 400, "messages"),
    "an empty list": ({"messages": []}, 400, "messages"),
    "messages that are a text": ({"messages": "Hello."}, 400, "messages"),
    "a message that is a text": ({"messages": [user("a"), "Hello."]}, 400, "messages.1"),
    "no role": ({"messages": [{"content": "Hello."}]}, 400, "messages.0.role"),
    "a role of no one": ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages.0.role"),
    "a number for a text": ({"messages": [user("a"), user(7)]}, 400, "messages.1.content"),
    "a part of no kind": ({"messages": [user([{"text": 7}])]}, 400, "messages.0.content"),
    "a temperature of words": ({"temperature": "hot"}, 400, "temperature"),
    "stream is no truth": ({"stream": "perhaps"}, 400, "stream"),
}  # fmt: skip
