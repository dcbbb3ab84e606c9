// clients.mjs BASE_URL - the official clients against a node, with their own helpers: what they throw on is a failure. Prints TAP.
// The model is the starter: it answers, but knows nothing, so only shapes are looked at, never what it says.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { Ollama } from "ollama";
import { generateObject, generateText, streamObject, streamText, stepCountIs, tool, embed, embedMany } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import assert from "node:assert/strict";

const base = process.argv[2];
const key = "none";
const model = "starter";
const ask = [{ role: "user", content: "I would like to book a table for two." }];
// Everything in it is bounded, so that the starter, which rambles, comes to an end.
const Trip = z.object({ place: z.enum(["Oslo", "Rome"]), days: z.number().int().min(1).max(9), by: z.array(z.enum(["train", "boat"])).min(1).max(2), back: z.boolean().nullable() });
const Lamp = z.object({ on: z.boolean() });
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
  const r = await openai.chat.completions.create({ model, messages: ask, max_tokens: 5, n: 2, logprobs: true, top_logprobs: 2, stop: ["zzz"], ignore_eos: true });
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
  for (let i = 0; i < 1000 && (await status()) > 0; i++) await new Promise((r) => setTimeout(r, 10));
  assert.equal(await status(), 0);
});

test("openai: files and vector stores", async () => {
  const file = (name, text) => new File([text], name, { type: "text/plain" });
  const store = await openai.vectorStores.create({ name: "papers", metadata: { who: "anna" } });
  assert.equal(store.object, "vector_store");
  const sent = await openai.files.create({ file: file("boiler.txt", "The boiler's pressure valve must be replaced before winter."), purpose: "assistants" });
  assert.equal(sent.filename, "boiler.txt");
  assert.equal(await (await openai.files.content(sent.id)).text(), "The boiler's pressure valve must be replaced before winter.");
  const added = await openai.vectorStores.files.createAndPoll(store.id, { file_id: sent.id, attributes: { year: 2023 } });
  assert.equal(added.status, "completed");
  const read = await openai.vectorStores.files.uploadAndPoll(store.id, file("lease \"mill\".md", "# Lease\n\nThe tenancy of the mill ends in spring."));
  assert.equal(read.status, "completed");
  const parsed = [];
  for await (const part of await openai.vectorStores.files.content(read.id, { vector_store_id: store.id })) parsed.push(part.text);
  assert.match(parsed.join("\n"), /The tenancy of the mill ends in spring\./);
  const batch = await openai.vectorStores.fileBatches.uploadAndPoll(store.id, { files: [file("a.txt", "About ladders."), file("b.txt", "About curtains.")] });
  assert.deepEqual([batch.status, batch.file_counts.completed], ["completed", 2]);
  const whole = await openai.vectorStores.retrieve(store.id);
  assert.deepEqual([whole.status, whole.file_counts.completed, whole.metadata.who], ["completed", 4, "anna"]);
  const page = await openai.vectorStores.search(store.id, { query: "when does the tenancy end?", max_num_results: 3, rewrite_query: true });
  assert.equal(page.data[0].filename, 'lease "mill".md');
  assert.match(page.data[0].content[0].text, /mill ends in spring/);
  assert.ok(page.data[0].score > 0 && page.data[0].score <= 1);
  const filtered = await openai.vectorStores.search(store.id, {
    query: ["boiler valve", "tenancy"], filters: { type: "and", filters: [{ type: "gte", key: "year", value: 2020 }, { type: "ne", key: "who", value: "x" }] },
    ranking_options: { score_threshold: 0.1 },
  });
  assert.deepEqual(filtered.data.map((d) => [d.file_id, d.attributes.year]), [[sent.id, 2023]]);
  assert.equal((await openai.vectorStores.update(store.id, { name: "more" })).name, "more");
  const names = [];
  for await (const f of openai.vectorStores.files.list(store.id, { limit: 1, order: "asc" })) names.push(f.id);
  assert.equal(names.length, 4);
  const all = [];
  for await (const s of openai.vectorStores.list()) all.push(s.id);
  assert.ok(all.includes(store.id) && all.includes("vs_documents"));
  assert.equal((await openai.vectorStores.files.delete(sent.id, { vector_store_id: store.id })).deleted, true);
  for await (const f of openai.files.list()) assert.equal((await openai.files.delete(f.id)).deleted, true);
  assert.equal((await openai.vectorStores.delete(store.id)).object, "vector_store.deleted");
  await assert.rejects(openai.vectorStores.retrieve(store.id), OpenAI.NotFoundError);
  await assert.rejects(openai.vectorStores.files.create("vs_documents", { file_id: sent.id }), OpenAI.PermissionDeniedError);
});

test("openai: file_search in responses", async () => {
  const store = await openai.vectorStores.create({ name: "one", expires_after: { anchor: "last_active_at", days: 3 } });
  assert.equal(store.expires_at, store.last_active_at + 3 * 86400);
  const sent = await openai.vectorStores.files.uploadAndPoll(store.id, new File(["The deposit of the mill is 2400 euros."], "mill.txt", { type: "text/plain" }));
  assert.equal(sent.status, "completed");
  const body = {
    model: "u/alpha", input: "How high is the deposit of the mill?", include: ["file_search_call.results"],
    tools: [{ type: "file_search", vector_store_ids: [store.id], max_num_results: 3, ranking_options: { ranker: "auto", score_threshold: 0.2 } }],
  };
  const right = (r) => {
    const [call, message] = r.output;
    assert.deepEqual([call.type, call.status, call.queries], ["file_search_call", "completed", [body.input]]);
    assert.deepEqual([call.results[0].file_id, call.results[0].filename, call.results[0].text], [sent.id, "mill.txt", "The deposit of the mill is 2400 euros."]);
    assert.equal(message.content[0].text, "The deposit is 2400 euros [1].\n\n[1] mill.txt");
    const [a] = message.content[0].annotations;
    assert.deepEqual([a.type, a.file_id, a.filename, a.index], ["file_citation", sent.id, "mill.txt", 26]);
  };
  right(await openai.responses.create(body));
  const steps = [];
  const stream = openai.responses.stream(body);
  for await (const event of stream) steps.push(event.type);
  right(await stream.finalResponse());
  const searching = steps.filter((s) => s.startsWith("response.file_search_call"));
  assert.deepEqual(searching, ["in_progress", "searching", "completed"].map((s) => `response.file_search_call.${s}`));
  assert.equal(steps[steps.indexOf("response.file_search_call.in_progress") - 1], "response.output_item.added");
  assert.equal(steps[steps.indexOf("response.file_search_call.completed") + 1], "response.output_item.done");
  assert.ok(steps.includes("response.output_text.annotation.added"));
  await openai.vectorStores.delete(store.id);
  await openai.files.delete(sent.id);
});

test("openai: completions and embeddings", async () => {
  const c = await openai.completions.create({ model, prompt: "Hello", max_tokens: 4 });
  assert.equal(typeof c.choices[0].text, "string");
  let text = "";
  for await (const chunk of await openai.completions.create({ model, prompt: "Hello", max_tokens: 4, stream: true, ignore_eos: true })) text += chunk.choices[0].text;
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
  const first = await openai.responses.create({ model, input: "I need a taxi.", instructions: "Be brief.", max_output_tokens: 20, temperature: 0 });
  assert.equal(first.object, "response");
  assert.ok(first.output_text.length > 0);
  const stream = openai.responses.stream({ model, input: [{ role: "user", content: [{ type: "input_text", text: "For two." }] }], previous_response_id: first.id, max_output_tokens: 200, temperature: 0 });
  let deltas = "";
  const types = []; // an answer that ends by itself: the helper leaves usage out of one that was cut
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
  for await (const part of await ollama.generate({ model, prompt: "I need a taxi", stream: true, options: { num_predict: 5, ignore_eos: true } })) generated += part.response;
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

test("answers from documents, with citations, through every client", async () => {
  const paper = process.argv[3], headers = { "Hearth-Context": "documents" };
  const messages = [{ role: "user", content: "How high is the deposit of the flat?" }];
  const text = `The deposit is 2400 euros [1].\n\n[1] ${paper}`;
  const body = { model: "u/alpha", messages };
  const right = (a) => {
    assert.equal(a.length, 1);
    assert.equal(a[0].type, "file_citation");
    assert.equal(a[0].filename, "lease.txt");
    assert.equal(a[0].file, paper);
    assert.equal(text.slice(a[0].index, a[0].index + 3), "[1]");
  };
  const whole = (await openai.chat.completions.create(body, { headers })).choices[0].message;
  assert.equal(whole.content, text);
  right(whole.annotations);
  const runner = openai.chat.completions.stream(body, { headers });
  assert.equal(await runner.finalContent(), text);
  right((await runner.finalMessage()).annotations);
  const response = await openai.responses.create({ model: "u/alpha", input: messages[0].content }, { headers });
  assert.equal(response.output_text, text);
  right(response.output[0].content[0].annotations);
  const final = await openai.responses.stream({ model: "u/alpha", input: messages[0].content }, { headers }).finalResponse();
  right(final.output[0].content[0].annotations);
  const message = await anthropic.messages.create({ ...body, max_tokens: 100 }, { headers });
  const streamed = await anthropic.messages.stream({ ...body, max_tokens: 100 }, { headers }).finalMessage();
  for (const m of [message, streamed]) {
    assert.equal(m.content[0].text, text);
    assert.equal(m.content[0].citations.length, 1);
    assert.equal(m.content[0].citations[0].title, paper);
  }
  const llama = new Ollama({ host: base, headers });
  const said = await llama.chat(body);
  assert.equal(said.message.content, text);
  assert.equal(said.citations[0].file, paper);
  let built = "", last;
  for await (const part of await llama.chat({ ...body, stream: true })) {
    built += part.message.content;
    last = part;
  }
  assert.equal(built, text);
  assert.equal(last.citations[0].page, null);
  const ai = createOpenAICompatible({ name: "hearth", baseURL: `${base}/v1`, apiKey: key, headers });
  assert.equal((await generateText({ model: ai("u/alpha"), messages, maxRetries: 0 })).text, text);
  const chain = new ChatOpenAI({ model: "u/alpha", apiKey: key, configuration: { baseURL: `${base}/v1`, defaultHeaders: headers }, maxRetries: 0 });
  assert.equal((await chain.invoke(messages)).content, text);
});

test("openai: answers parsed by a zod schema, whole and streamed", async () => {
  const body = { model, messages: ask, response_format: zodResponseFormat(Trip, "trip"), seed: 3 };
  const r = await openai.chat.completions.parse(body);
  Trip.parse(r.choices[0].message.parsed);
  const runner = openai.chat.completions.stream(body);
  let snapshots = 0;
  runner.on("content.delta", () => snapshots++);
  const built = await runner.finalChatCompletion();
  assert.deepEqual(built.choices[0].message.parsed, r.choices[0].message.parsed);
  assert.ok(snapshots > 3);
  const text = await openai.responses.parse({ model, input: "A trip.", text: { format: zodTextFormat(Trip, "trip") } });
  Trip.parse(text.output_parsed);
  const stream = openai.responses.stream({ model, input: "A trip.", text: { format: zodTextFormat(Trip, "trip") } });
  Trip.parse((await stream.finalResponse()).output_parsed);
});

test("openai: forced calls, parsed, accumulated and run by its tool runner", async () => {
  const tools = [zodFunction({ name: "trip", parameters: Trip }), zodFunction({ name: "lamp", parameters: Lamp })];
  for (const seed of [1, 2, 3]) {
    const r = await openai.chat.completions.parse({ model, messages: ask, tools, tool_choice: "required", seed });
    assert.equal(r.choices[0].finish_reason, "tool_calls");
    for (const call of r.choices[0].message.tool_calls) (call.function.name === "lamp" ? Lamp : Trip).parse(call.function.parsed_arguments);
    const built = await openai.chat.completions.stream({ model, messages: ask, tools, tool_choice: "required", seed }).finalChatCompletion();
    assert.deepEqual(built.choices[0].message.tool_calls.map((c) => c.function.arguments), r.choices[0].message.tool_calls.map((c) => c.function.arguments));
  }
  const ran = [];
  const runnable = [zodFunction({ name: "lamp", parameters: Lamp, function: (args) => { ran.push(args); return "done"; } })];
  const runner = openai.chat.completions.runTools({ model, messages: ask, tools: runnable, tool_choice: { type: "function", function: { name: "lamp" } }, stream: true });
  await runner.done();
  assert.equal(ran.length, 1);
  const loop = openai.chat.completions.runTools({ model, messages: ask, tools: runnable, tool_choice: "required", parallel_tool_calls: false }, { maxChatCompletions: 3 });
  await loop.done().catch((e) => assert.match(String(e), /role=assistant|maxChatCompletions|content/));
  assert.equal(ran.length, 4);
  assert.equal(loop.messages.filter((m) => m.role === "tool").length, 3);
});

test("openai: responses with forced calls, and their results sent back", async () => {
  const tools = [zodResponsesFunction({ name: "lamp", parameters: Lamp })];
  const first = await openai.responses.parse({ model, input: "Light!", tools, tool_choice: "required", parallel_tool_calls: false, max_output_tokens: 200 });
  const call = first.output.find((item) => item.type === "function_call");
  Lamp.parse(JSON.parse(call.arguments)); // its parsed_arguments are the item itself in this version
  const stream = openai.responses.stream({ model, input: "Light!", tools, tool_choice: { type: "function", name: "lamp" }, max_output_tokens: 200 });
  let parts = "";
  stream.on("response.function_call_arguments.delta", (e) => (parts += e.delta));
  const built = await stream.finalResponse();
  assert.equal(built.output[0].arguments, parts);
  const second = await openai.responses.create({ model, previous_response_id: first.id, input: [{ type: "function_call_output", call_id: call.call_id, output: "on" }], tools, max_output_tokens: 10 });
  assert.ok(second.usage.input_tokens > first.usage.input_tokens);
});

test("reasoning that a template opens, through every client", async () => {
  const template = "{% for m in messages %}<|user|>{{ m.content }}\n{% endfor %}<|assistant|><think>\n";
  await ollama.create({ model: "thinker", from: model, template, parameters: { temperature: 0, num_predict: 20 } });
  const on = { ignore_eos: true }; // else the starter, which does not know the mark, ends at once
  const r = await openai.chat.completions.create({ model: "thinker", messages: ask, ...on });
  const thought = r.choices[0].message.reasoning_content;
  assert.ok(thought.length > 0 && r.choices[0].message.content === "");
  assert.ok(r.usage.completion_tokens_details.reasoning_tokens > 0);
  const stream = openai.responses.stream({ model: "thinker", input: ask[0].content, ...on });
  let deltas = "";
  stream.on("response.reasoning_text.delta", (e) => (deltas += e.delta));
  await stream.done();
  assert.equal(deltas, thought);
  const built = await anthropic.messages.stream({ model: "thinker", max_tokens: 20, messages: ask, ...on }).finalMessage();
  assert.equal(built.content[0].type, "thinking");
  assert.equal(built.content[0].thinking, thought);
  let thinking = "";
  for await (const part of await ollama.chat({ model: "thinker", messages: ask, stream: true, think: true, options: on })) thinking += part.message.thinking ?? "";
  assert.equal(thinking, thought);
  const s = streamText({ model: aisdk("thinker"), messages: ask, maxRetries: 0, providerOptions: { hearth: on } });
  assert.equal(await s.reasoningText, thought);
  await ollama.delete({ model: "thinker" });
});

test("openai: what cannot be bound is a typed error", async () => {
  const schema = { type: "object", properties: { a: { type: "array", unevaluatedItems: false } } };
  await assert.rejects(openai.chat.completions.create({ model, messages: ask, response_format: { type: "json_schema", json_schema: { name: "n", schema } } }),
    (e) => e instanceof OpenAI.BadRequestError && e.param === "response_format" && /unevaluatedItems/.test(e.message));
  await assert.rejects(openai.chat.completions.create({ model, messages: ask, tool_choice: "required" }), OpenAI.BadRequestError);
});

test("anthropic: parsed output, forced calls, streamed input, the tool runner", async () => {
  // It tells bounds of numbers and lists in words only, so there are none here.
  const Plan = Trip.omit({ days: true }).extend({ by: z.enum(["train", "boat"]) });
  const parsed = await anthropic.messages.parse({ model, max_tokens: 300, messages: ask, output_config: { format: zodOutputFormat(Plan) } });
  Plan.parse(parsed.parsed_output);
  const tools = [{ name: "lamp", input_schema: { type: "object", properties: { on: { type: "boolean" } }, required: ["on"], additionalProperties: false } }];
  const body = { model, max_tokens: 200, messages: ask, tools, tool_choice: { type: "any", disable_parallel_tool_use: true }, temperature: 0 };
  const whole = await anthropic.messages.create(body);
  assert.equal(whole.stop_reason, "tool_use");
  Lamp.parse(whole.content[0].input);
  const stream = anthropic.messages.stream(body);
  let json = "";
  stream.on("inputJson", (part) => (json += part));
  const built = await stream.finalMessage();
  assert.deepEqual(built.content[0].input, whole.content[0].input);
  assert.deepEqual(JSON.parse(json), built.content[0].input);
  const ran = [];
  const lamp = betaZodTool({ name: "lamp", description: "a lamp", inputSchema: Lamp, run: (input) => { ran.push(input); return "done"; } });
  const runner = anthropic.beta.messages.toolRunner({ model, max_tokens: 200, messages: ask, tools: [lamp], tool_choice: { type: "tool", name: "lamp", disable_parallel_tool_use: true }, max_iterations: 2 });
  for await (const message of runner) assert.equal(message.stop_reason, "tool_use");
  assert.ok(ran.length >= 1 && ran.every((input) => typeof input.on === "boolean"));
});

test("ollama: format, tools and think", async () => {
  const format = z.toJSONSchema(Trip);
  Trip.parse(JSON.parse((await ollama.chat({ model, messages: ask, format })).message.content));
  let text = "";
  for await (const part of await ollama.generate({ model, prompt: "A trip.", format, stream: true })) text += part.response;
  Trip.parse(JSON.parse(text));
  const tools = [{ type: "function", function: { name: "lamp", description: "d", parameters: z.toJSONSchema(Lamp) } }];
  const r = await ollama.chat({ model, messages: [...ask, { role: "assistant", content: "", tool_calls: [{ function: { name: "lamp", arguments: { on: true } } }] }, { role: "tool", tool_name: "lamp", content: "on" }],
    tools, think: false, options: { num_predict: 5 } });
  assert.equal(r.message.role, "assistant");
});

test("ai sdk: objects and tools", async () => {
  const strict = createOpenAICompatible({ name: "hearth", baseURL: `${base}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true })(model);
  Trip.parse((await generateObject({ model: strict, schema: Trip, messages: ask, maxRetries: 0 })).object);
  const s = streamObject({ model: strict, schema: Trip, messages: ask, maxRetries: 0 });
  let partials = 0;
  for await (const partial of s.partialObjectStream) partials += partial !== undefined;
  Trip.parse(await s.object);
  assert.ok(partials > 1);
  const ran = [];
  const tools = { lamp: tool({ description: "a lamp", inputSchema: Lamp, execute: async (input) => { ran.push(input); return "done"; } }) };
  const r = await generateText({ model: aisdk(model), tools, toolChoice: "required", messages: ask, stopWhen: stepCountIs(2), maxRetries: 0 });
  assert.equal(r.steps.length, 2);
  assert.ok(r.steps.every((step) => step.finishReason === "tool-calls" && step.toolResults.length > 0));
  const streamed = streamText({ model: aisdk(model), tools, toolChoice: { type: "tool", toolName: "lamp" }, messages: ask, maxRetries: 0 });
  const kinds = new Set();
  for await (const part of streamed.fullStream) kinds.add(part.type);
  assert.ok(kinds.has("tool-call") && kinds.has("tool-result") && !kinds.has("error"));
});

test("langchain: structured output and bound tools", async () => {
  const configuration = { baseURL: `${base}/v1` };
  const chat = new ChatOpenAI({ model, apiKey: key, configuration, temperature: 0, maxTokens: 300, maxRetries: 0 });
  for (const method of ["jsonSchema", "functionCalling"]) Trip.parse(await chat.withStructuredOutput(Trip, { name: "trip", method }).invoke(ask));
  const bound = chat.bindTools([{ name: "lamp", description: "a lamp", schema: Lamp }], { tool_choice: "required" });
  const called = await bound.invoke(ask);
  assert.ok(called.tool_calls.length > 0 && called.tool_calls.every((c) => c.name === "lamp" && typeof c.args.on === "boolean"));
  let built;
  for await (const chunk of await bound.stream(ask)) built = built ? built.concat(chunk) : chunk;
  assert.deepEqual(built.tool_calls.map((c) => c.args), called.tool_calls.map((c) => c.args));
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
