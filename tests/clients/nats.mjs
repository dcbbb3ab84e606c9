// nats.mjs JSON - NATS's own client with a member's credentials at a neighbourhood's hub: what it may not read, say or be. Prints TAP.
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { createUser } from "@nats-io/nkeys";
import assert from "node:assert/strict";

const at = JSON.parse(process.argv[2]); // {hub, ca, seed, self, others, pool, names}
// This client takes no addresses for names in certificates; the authority is the hub's own certificate, so there is nothing left to compare.
const tls = { caFile: at.ca, checkServerIdentity: () => undefined };
const options = (more) => ({ servers: at.hub, tls, reconnect: false, timeout: 20000, ...more });
const member = (more) => connect(options({ authenticator: nkeyAuthenticator(new TextEncoder().encode(at.seed)), ...more }));
const tests = [];
const test = (name, fn) => tests.push([name, fn]);

const fails = async (promise) => {
  try {
    const nc = await promise;
    await nc.close();
  } catch (e) {
    return String(e);
  }
  throw new Error("it got in");
};

// A subscription that must be refused: the hub's error comes as the iterator's.
const refused = async (nc, subject, queue) => {
  const sub = nc.subscribe(subject, queue ? { queue } : {});
  const heard = (async () => {
    for await (const m of sub) return `heard ${m.subject}`;
    return "ended";
  })().catch((e) => `refused: ${e.message}`);
  return heard;
};

test("a member hears what is for it, and can read nothing of it that it was not sealed for", async () => {
  const nc = await member();
  const sub = nc.subscribe(at.self);
  const got = [];
  for await (const m of sub) {
    got.push(m);
    if (got.length === 2) break;
  }
  for (const m of got) {
    const text = Buffer.from(m.data).toString("latin1");
    assert.equal(m.data[0], 1);
    for (const secret of at.names) assert.ok(!text.includes(secret), secret);
  }
  // The same bytes, sent on to the others: sealed for somebody else, so for nobody.
  for (const other of at.others) for (const m of got) nc.publish(other, m.data);
  await nc.flush();
  await nc.close();
});

test("it hears nothing else, whatever it asks for", async () => {
  const nc = await member();
  const subjects = [">", "*", "hearth.>", "hearth.*.*.*", `hearth.${at.pool}.>`, `hearth.${at.pool}.to.*`, `hearth.${at.pool}.to.>`, `hearth.${at.pool}.door.*`,
    `hearth.${at.pool}.guest.*`, ...at.others, "_INBOX.>", "$SYS.>", "$JS.>", "_R_.>", "$G.>"];
  // Two subscriptions of its own mark the time in which the others could have heard something.
  const tries = [];
  for (const subject of subjects) {
    tries.push([subject, refused(nc, subject)]);
    tries.push([`${subject} (queue)`, refused(nc, subject, "all")]);
  }
  const mine = nc.subscribe(at.self);
  let n = 0;
  for await (const _ of mine) if (++n === 2) break;
  for (const [subject, heard] of tries) {
    const what = await Promise.race([heard, new Promise((done) => setTimeout(() => done("silence"), 5000))]);
    assert.ok(what.startsWith("refused") || what === "silence", `${subject}: ${what}`);
    assert.match(what, /^refused.*[Pp]ermission|^silence/, subject);
  }
  await nc.close();
});

test("it says nothing elsewhere, and gets no answers", async () => {
  const nc = await member();
  const errors = [];
  (async () => {
    for await (const s of nc.status()) if (s.type === "error") errors.push(String(s.error?.message ?? s.data ?? s));
  })();
  const forbidden = ["_INBOX.x", "$SYS.REQ.SERVER.PING", "$SYS.ACCOUNT.x", "$JS.API.INFO", "$JS.API.STREAM.CREATE.x", "elm", `hearth.${at.pool}.door.${"0".repeat(64)}`,
    `hearth.0000000000000000.to.${"0".repeat(64)}`, `hearth.${at.pool}.to.a.b`];
  for (const subject of forbidden) nc.publish(subject, "x");
  await nc.flush();
  for (let i = 0; i < 100 && errors.length < forbidden.length; i++) await new Promise((done) => setTimeout(done, 100));
  assert.equal(errors.filter((e) => /permission/i.test(e)).length, forbidden.length, errors.join("\n"));
  await assert.rejects(nc.request(at.others[0], "x", { timeout: 2000 }));
  await nc.close();
});

test("what it injects at others is not believed", async () => {
  const nc = await member();
  for (const other of at.others) {
    nc.publish(other, "");
    nc.publish(other, "hello");
    nc.publish(other, new Uint8Array(300).fill(1));
    nc.publish(other, new Uint8Array(512 * 1024).fill(1), { reply: "hearth.x" });
    nc.publish(other, JSON.stringify({ op: "welcome", members: [] }));
  }
  await nc.flush();
  await nc.close();
});

test("more than the hub takes costs the connection", async () => {
  const nc = await member();
  assert.equal(nc.info.max_payload, 524288);
  assert.ok(!nc.info.jetstream && !nc.info.connect_urls);
  assert.throws(() => nc.publish(at.others[0], new Uint8Array(512 * 1024 + 1)));
  await nc.close();
});

test("without the credentials nobody gets in", async () => {
  const stranger = createUser();
  assert.match(await fails(connect(options({ authenticator: nkeyAuthenticator(stranger.getSeed()) }))), /uthorization|uthentication/);
  assert.match(await fails(connect(options({}))), /uthorization|uthentication/);
  assert.match(await fails(connect(options({ user: "hub", pass: "hub" }))), /uthorization|uthentication/);
  await fails(connect({ ...options({ authenticator: nkeyAuthenticator(new TextEncoder().encode(at.seed)) }), tls: null }));
  await fails(connect({ ...options({ authenticator: nkeyAuthenticator(new TextEncoder().encode(at.seed)) }), tls: {} })); // no authority knows this certificate
});

let bad = 0, n = 0;
for (const [name, fn] of tests) {
  n++;
  try {
    await fn();
    console.log(`ok ${n} - ${name}`);
  } catch (e) {
    bad++;
    for (const line of String(e?.stack ?? e).split("\n")) console.log(`# ${line}`);
    console.log(`not ok ${n} - ${name}`);
  }
}
console.log(`1..${n}`);
process.exit(bad ? 1 : 0);
