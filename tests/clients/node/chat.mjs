// A chat of three turns with one client library: node chat.mjs LIBRARY URL
// As libraries_python.py, whose output it has too.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const LINES = ["Is the lamp lit?", "And the door?", "Good night."];
const [library, baseURL] = process.argv.slice(2);
const settings = { baseURL, apiKey: "no-key" };

// Each: (model, messages, whether to stream, milliseconds to wait) => messages to add; text of one.
const openai = async (model, messages, stream, timeout) => {
  const client = new OpenAI({ ...settings, maxRetries: 0, timeout });
  if (!stream) {
    return [(await client.chat.completions.create({ model, messages })).choices[0].message];
  }
  return [await client.chat.completions.stream({ model, messages }).finalMessage()];
};

const aiSdk = (provider) => async (name, messages, stream, timeout) => {
  const asked = {
    model: provider(name), messages, maxRetries: 0, maxOutputTokens: 16000, seed: -1,
    abortSignal: AbortSignal.timeout(timeout),
  };
  if (!stream) return (await generateText(asked)).response.messages;
  let failed;
  const result = streamText({ ...asked, onError: ({ error }) => (failed = error) });
  for await (const _ of result.textStream);
  if (failed) throw failed;
  return (await result.response).messages;
};

const libraries = {
  "openai": openai,
  "ai-sdk": aiSdk((name) => createOpenAI(settings).chat(name)),
  "ai-sdk-text": aiSdk((name) => createOpenAI(settings).completion(name)),
  "ai-sdk-compatible": aiSdk(createOpenAICompatible({ ...settings, name: "iyagi" })),
};
const chat = libraries[library];
const text = ({ content }) =>
  typeof content === "string" ? content : content.map((part) => part.text).join("");

const told = {};
for (const [way, stream] of [["whole", false], ["stream", true]]) {
  const messages = [];
  told[way] = [];
  for (const content of LINES) {
    messages.push({ role: "user", content });
    const added = await chat("Sera", messages, stream, 30000);
    messages.push(...added);
    told[way].push(added.map(text).join(""));
  }
}
for (const [name, model, content, timeout] of [
  ["not there", "gpt-4", LINES[0], 30000],
  ["slow", "Sera", "It WAITS.", 2000],
]) {
  try {
    await chat(model, [{ role: "user", content }], false, timeout);
  } catch (error) {
    told[name] = `${error.name}: ${error.message}`;
  }
}
process.stdout.write(JSON.stringify(told));
