// clients.mjs BASE_URL - the official clients against a node, with their own helpers: what they throw on is a failure. Prints TAP.
// The model is the starter: it answers, but knows nothing, so only shapes are looked at, never what it says.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import { generateText, streamText, embed, embedMany } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import assert from "node:assert/strict";

const base = process.argv[2];
const key = "none";
const model = "starter";
const ask = [{ role: "user", content: "I would like to book a table for two." }];
const tests = [];
const test = (name, fn) => tests.push([name, fn]);

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const ollama = new Ollama({ host: base });
const aisdk = createOpenAICompatible({ name: "hearth", baseURL: `${base}/v1`, apiKey: key, includeUsage: true });

test("openai: a chat completion, whole", async () => {
  const r = await openai.chat.completions.create({ model, messages: ask, max_completion_tokens: 20, temperature: 0, seed: 1 });
  assert.equal(r.object, "chat.completion");
  assert.ok(r.choices[0].message.content.length > 0);
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
});

test("openai: the stream helper builds the same answer", async () => {
  const whole = await openai.chat.completions.create({ model, messages: ask, max_tokens: 20, temperature: 0 });
  const runner = openai.chat.completions.stream({ model, messages: ask, max_tokens: 20, temperature: 0, stream_options: { include_usage: true } });
  let deltas = "";
  runner.on("content", (d) => (deltas += d));
  const built = await runner.finalChatCompletion();
  assert.equal(built.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(deltas, whole.choices[0].message.content);
  assert.deepEqual((await runner.totalUsage()).completion_tokens, whole.usage.completion_tokens);
});

test("openai: log probabilities, several answers, stop", async () => {
  const r = await openai.chat.completions.create({ model, messages: ask, max_tokens: 5, n: 2, logprobs: true, top_logprobs: 2, stop: ["zzz"] });
  assert.equal(r.choices.length, 2);
  assert.equal(r.choices[1].logprobs.content[0].top_logprobs.length, 2);
});

test("openai: aborting a stream", async () => {
  const controller = new AbortController();
  const s = await openai.chat.completions.create({ model, messages: ask, stream: true, n: 50, ignore_eos: true }, { signal: controller.signal });
  for await (const chunk of s) {
    assert.ok(chunk.id);
    break;
  }
  controller.abort();
  const status = async () => (await (await fetch(`${base}/hearth/status`)).json()).requests.active;
  for (let i = 0; i < 100 && (await status()) > 0; i++) await new Promise((r) => setTimeout(r, 10));
  assert.equal(await status(), 0);
});

test("openai: completions and embeddings", async () => {
  const c = await openai.completions.create({ model, prompt: "Hello", max_tokens: 4 });
  assert.equal(typeof c.choices[0].text, "string");
  let text = "";
  for await (const chunk of await openai.completions.create({ model, prompt: "Hello", max_tokens: 4, stream: true })) text += chunk.choices[0].text;
  assert.ok(text.length > 0);
  // Without a format the client asks for base64 and decodes it.
  const e = await openai.embeddings.create({ model, input: ["a", "b"] });
  assert.equal(e.data.length, 2);
  assert.equal(e.data[0].embedding.length, 256);
  assert.ok(Math.abs(e.data[0].embedding.reduce((s, x) => s + x * x, 0) - 1) < 1e-3);
  const short = await openai.embeddings.create({ model, input: "a", dimensions: 8, encoding_format: "float" });
  assert.equal(short.data[0].embedding.length, 8);
});

test("openai: models and typed errors", async () => {
  const ids = [];
  for await (const m of openai.models.list()) ids.push(m.id);
  assert.ok(ids.includes(model));
  assert.equal((await openai.models.retrieve(model)).id, model);
  await assert.rejects(openai.models.retrieve("gone"), OpenAI.NotFoundError);
  await assert.rejects(openai.chat.completions.create({ model: "gone", messages: ask }), (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
  await assert.rejects(openai.chat.completions.create({ model, messages: [] }), (e) => e instanceof OpenAI.BadRequestError && e.param === "messages");
  await assert.rejects(openai.chat.completions.create({ model, messages: [{ role: "user", content: "hello ".repeat(400) }] }),
    (e) => e instanceof OpenAI.BadRequestError && e.code === "context_length_exceeded");
});

test("openai: responses, streamed and continued", async () => {
  const first = await openai.responses.create({ model, input: "I need a taxi.", instructions: "Be brief.", max_output_tokens: 20 });
  assert.equal(first.object, "response");
  assert.ok(first.output_text.length > 0);
  const stream = openai.responses.stream({ model, input: [{ role: "user", content: [{ type: "input_text", text: "For two." }] }], previous_response_id: first.id, max_output_tokens: 20 });
  let deltas = "";
  const types = [];
  stream.on("response.output_text.delta", (e) => (deltas += e.delta));
  stream.on("event", (e) => types.push(e.type));
  const last = await stream.finalResponse();
  assert.equal(last.output.find((item) => item.type === "message").content[0].text, deltas);
  assert.equal(last.previous_response_id, first.id);
  assert.ok(last.usage.input_tokens > first.usage.input_tokens);
  assert.equal(types[0], "response.created");
  assert.ok(["response.completed", "response.incomplete"].includes(types.at(-1)));
  assert.equal((await openai.responses.retrieve(first.id)).output_text, first.output_text);
  await openai.responses.delete(first.id);
  await assert.rejects(openai.responses.retrieve(first.id), OpenAI.NotFoundError);
  await assert.rejects(openai.responses.create({ model, input: "x", previous_response_id: "resp_gone" }), OpenAI.NotFoundError);
});

test("anthropic: messages, whole, streamed and counted", async () => {
  const body = { model, max_tokens: 20, system: "You help.", messages: ask, temperature: 0 };
  const whole = await anthropic.messages.create(body);
  assert.equal(whole.type, "message");
  assert.equal(whole.content[0].type, "text");
  const stream = anthropic.messages.stream(body);
  let deltas = "";
  stream.on("text", (d) => (deltas += d));
  const built = await stream.finalMessage();
  assert.equal(built.content[0].text, whole.content[0].text);
  assert.equal(deltas, whole.content[0].text);
  assert.equal(built.stop_reason, whole.stop_reason);
  assert.equal(built.usage.output_tokens, whole.usage.output_tokens);
  for await (const event of await anthropic.messages.create({ ...body, stream: true })) {
    if (event.type === "message_start") assert.equal(event.message.usage.input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
  }
  const count = await anthropic.messages.countTokens({ model, system: "You help.", messages: ask });
  assert.equal(count.input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
  const prefilled = await anthropic.messages.create({ model, max_tokens: 5, messages: [...ask, { role: "assistant", content: "What" }] });
  assert.ok(!prefilled.content[0].text.startsWith("What"));
  const stopped = await anthropic.messages.create({ ...body, stop_sequences: [whole.content[0].text.split(" ")[2]] });
  assert.equal(stopped.stop_reason, "stop_sequence");
});

test("anthropic: models and typed errors", async () => {
  const ids = [];
  for await (const m of anthropic.models.list()) ids.push(m.id);
  assert.ok(ids.includes(model));
  assert.equal((await anthropic.models.retrieve(model)).display_name, model);
  await assert.rejects(anthropic.messages.create({ model: "gone", max_tokens: 5, messages: ask }), Anthropic.NotFoundError);
  await assert.rejects(anthropic.messages.create({ model, messages: ask }), Anthropic.BadRequestError);
});

test("ollama: the whole client", async () => {
  const names = (await ollama.list()).models.map((m) => m.name);
  assert.ok(names.includes("starter:latest"));
  const show = await ollama.show({ model });
  assert.equal(show.details.family, "llama");
  assert.ok(show.capabilities.includes("completion"));
  const chat = await ollama.chat({ model, messages: ask, options: { temperature: 0, num_predict: 20 } });
  let streamed = "", last;
  for await (const part of await ollama.chat({ model, messages: ask, stream: true, options: { temperature: 0, num_predict: 20 } })) {
    streamed += part.message.content;
    last = part;
  }
  assert.equal(streamed, chat.message.content);
  assert.ok(last.done && last.eval_count > 0 && last.total_duration > 0);
  let generated = "";
  for await (const part of await ollama.generate({ model, prompt: "I need a taxi", stream: true, options: { num_predict: 5 } })) generated += part.response;
  assert.ok(generated.length > 0);
  assert.equal((await ollama.embed({ model, input: ["a", "b"] })).embeddings.length, 2);
  assert.equal((await ollama.embeddings({ model, prompt: "a" })).embedding.length, 256);
  assert.equal((await ollama.ps()).models[0].name, "starter:latest");
  assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/);
  await ollama.copy({ source: model, destination: "second" });
  assert.ok((await ollama.list()).models.some((m) => m.name === "second:latest"));
  await ollama.delete({ model: "second" });
  const made = await ollama.create({ model: "made", from: model, system: "Be brief.", parameters: { temperature: 0, num_predict: 2 } });
  assert.equal(made.status, "success");
  const steps = [];
  for await (const part of await ollama.create({ model: "made", from: model, parameters: { num_predict: 3 }, stream: true })) steps.push(part.status);
  assert.equal(steps.at(-1), "success");
  assert.equal((await ollama.chat({ model: "made", messages: ask })).eval_count, 3);
  assert.match((await ollama.show({ model: "made" })).parameters, /num_predict\s+3/);
  await ollama.delete({ model: "made" });
  await assert.rejects(ollama.chat({ model: "second", messages: ask }), /second/);
});

test("ollama: aborting a stream", async () => {
  const s = await ollama.chat({ model, messages: ask, stream: true, options: { num_predict: 200, ignore_eos: true } });
  await assert.rejects(async () => {
    for await (const part of s) {
      assert.ok(part.model);
      s.abort();
    }
  }, /abort/i);
});

test("ai sdk: text, whole and streamed, and embeddings", async () => {
  const whole = await generateText({ model: aisdk(model), messages: ask, maxOutputTokens: 20, temperature: 0, maxRetries: 0 });
  const s = streamText({ model: aisdk(model), messages: ask, maxOutputTokens: 20, temperature: 0, maxRetries: 0 });
  let text = "";
  for await (const part of s.textStream) text += part;
  assert.equal(text, whole.text);
  assert.equal(await s.finishReason, whole.finishReason);
  assert.equal((await s.usage).outputTokens, whole.usage.outputTokens);
  assert.equal((await embed({ model: aisdk.textEmbeddingModel(model), value: "a", maxRetries: 0 })).embedding.length, 256);
  assert.equal((await embedMany({ model: aisdk.textEmbeddingModel(model), values: ["a", "b", "c"], maxRetries: 0 })).embeddings.length, 3);
});

test("langchain: chat, stream and embeddings", async () => {
  const configuration = { baseURL: `${base}/v1` };
  const chat = new ChatOpenAI({ model, apiKey: key, configuration, temperature: 0, maxTokens: 20, maxRetries: 0, streamUsage: true });
  const whole = await chat.invoke(ask);
  let built;
  for await (const chunk of await chat.stream(ask)) built = built ? built.concat(chunk) : chunk;
  assert.equal(built.content, whole.content);
  assert.equal(built.usage_metadata.output_tokens, whole.usage_metadata.output_tokens);
  const vectors = await new OpenAIEmbeddings({ model, apiKey: key, configuration, maxRetries: 0 }).embedDocuments(["a", "b"]);
  assert.equal(vectors[1].length, 256);
});

let n = 0;
let failed = 0;
for (const [name, fn] of tests) {
  try {
    await fn();
    console.log(`ok ${++n} - ${name}`);
  } catch (e) {
    failed++;
    for (const line of String(e.stack ?? e).split("\n").slice(0, 12)) console.log(`# ${line}`);
    console.log(`not ok ${++n} - ${name}`);
  }
}
console.log(`1..${n}`);
process.exit(failed ? 1 : 0);
