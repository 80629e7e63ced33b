/** Creating an account, proving a password, proving a device. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeviceKeys } from "@sotto/e2ee";
import { buckets, limits, parseInviteLink, sameBytes } from "@sotto/protocol";
import {
  authenticate,
  logIn,
  prepareRegistration,
  proofOf,
  random,
  RawClient,
  refusal,
  register,
  startServer,
} from "./raw-client.ts";

const inviteOf = (link: string | undefined): Uint8Array => {
  const parsed = parseInviteLink(link ?? "");
  assert.equal(parsed.kind, "ok");
  return parsed.kind === "ok" ? parsed.link.token : new Uint8Array();
};
const publicAddress = (server: { addresses: readonly string[] }) =>
  server.addresses.map((url) => new URL(url).hostname).find((host) => /^\d+\./.test(host) && !host.startsWith("127."));

test("a name is taken once, and only names that follow the rules", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  for (const name of ["Al", "UPPER", "a", ".dot", "dot.", "two words", "ünï", "x".repeat(33), ""]) {
    assert.equal(await refusal(prepareRegistration(client, name)), "name-invalid", name);
  }
  await register(client, "alice");
  await using other = await RawClient.connect(server);
  assert.equal(await refusal(prepareRegistration(other, "alice")), "name-taken");
  assert.equal(await refusal(prepareRegistration(client, "bob")), "not-permitted", "a device registers nobody else");
});

test("a registration cannot be begun for an account that exists: it would be a way to guess its password", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const alice = await register(client, "alice");
  await using other = await RawClient.connect(server);
  const { client: opaque } = await import("@serenity-kit/opaque");
  const guess = new Uint8Array(
    Buffer.from(opaque.startRegistration({ password: "guess" }).registrationRequest, "base64url"),
  );
  const answer = other.request("startRegistration", { name: "mallory", account: alice.account, request: guess });
  assert.equal(await refusal(answer), "not-permitted");
});

test("two who race for a name do not both get it", async () => {
  await using server = await startServer();
  await using one = await RawClient.connect(server);
  await using two = await RawClient.connect(server);
  const prepared = await Promise.all([prepareRegistration(one, "alice"), prepareRegistration(two, "alice")]);
  const codes = await Promise.all(
    [one, two].map((client, i) => refusal(client.request("finishRegistration", prepared[i]!.params))),
  );
  assert.deepEqual(codes.toSorted(), ["name-taken", "ok"]);
});

test("a registration that contradicts itself is refused and leaves nothing behind", async () => {
  await using server = await startServer();
  const flip = (bytes: Uint8Array) => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
  await using elsewhere = await RawClient.connect(server);
  const other = await prepareRegistration(elsewhere, "mallory");
  const changes: [string, string, (params: Awaited<ReturnType<typeof prepareRegistration>>["params"]) => object][] = [
    ["another name", "not-permitted", () => ({ name: "carol" })],
    ["another account", "not-permitted", () => ({ account: random.bytes(16) })],
    ["another device", "not-permitted", () => ({ device: random.bytes(16) })],
    ["another setup", "not-permitted", ({ setup }) => ({ setup: flip(setup) })],
    ["another record", "not-permitted", ({ record }) => ({ record: flip(record) })],
    ["a short record", "not-permitted", ({ record }) => ({ record: record.slice(1) })],
    ["someone else's chain", "not-permitted", () => ({ chain: other.params.chain })],
    ["a cut chain", "not-permitted", ({ chain }) => ({ chain: chain.slice(0, 2) })],
    ["no chain", "not-permitted", () => ({ chain: [] })],
    ["a forged vault", "not-permitted", ({ vault }) => ({ vault: { ...vault, rootVault: flip(vault.rootVault) } })],
    [
      "a forged wrap",
      "not-permitted",
      ({ vault }) => ({ vault: { ...vault, wrapPassword: flip(vault.wrapPassword) } }),
    ],
    ["another recovery key", "not-permitted", ({ vault }) => ({ vault: { ...vault, recoveryKey: random.bytes(32) } })],
    ["a forged signature", "not-permitted", ({ vault }) => ({ vault: { ...vault, signature: flip(vault.signature) } })],
    ["another root version", "not-permitted", ({ vault }) => ({ vault: { ...vault, rootVersion: 2 } })],
    ["someone else's key packages", "key-package-refused", () => ({ keyPackages: other.params.keyPackages })],
    [
      "a broken key package",
      "key-package-refused",
      ({ keyPackages: [one] }) => ({ keyPackages: [{ suite: 1, bytes: flip(one!.bytes) }] }),
    ],
    ["a key package twice", "key-package-refused", ({ keyPackages: [one] }) => ({ keyPackages: [one, one] })],
    [
      "a last resort as any other",
      "key-package-refused",
      ({ lastResorts }) => ({ keyPackages: lastResorts, lastResorts: [] }),
    ],
    [
      "another suite",
      "key-package-refused",
      ({ keyPackages: [one] }) => ({ keyPackages: [{ suite: 83, bytes: one!.bytes }] }),
    ],
  ];
  for (const [what, code, change] of changes) {
    await using client = await RawClient.connect(server);
    const { params } = await prepareRegistration(client, "alice");
    assert.equal(await refusal(client.ask("finishRegistration", { ...params, ...change(params) })), code, what);
    assert.equal(await refusal(client.request("lookupAccount", { name: "alice" })), "not-authenticated", what);
  }
  await using client = await RawClient.connect(server);
  assert.equal(
    await refusal(client.request("finishRegistration", other.params)),
    "not-permitted",
    "the first half was on another connection",
  );
  await register(client, "alice");
});

test("where registration is by invite, the first screen's link lets one person in from elsewhere", async (t) => {
  await using server = await startServer();
  const host = publicAddress(server);
  if (host === undefined) return t.skip("this machine has no address besides loopback");
  await using stranger = await RawClient.connect(server, { host });
  assert.equal(stranger.hello.registration, "invite");
  assert.equal(await refusal(prepareRegistration(stranger, "alice")), "invite-needed");
  assert.equal(await refusal(prepareRegistration(stranger, "alice", { invite: random.bytes(16) })), "invite-invalid");
  const invite = inviteOf(server.firstInvite);

  await using second = await RawClient.connect(server, { host });
  const [one, two] = [
    await prepareRegistration(stranger, "alice", { invite }),
    await prepareRegistration(second, "bob", { invite }),
  ];
  const codes = await Promise.all([
    refusal(stranger.request("finishRegistration", one.params)),
    refusal(second.request("finishRegistration", two.params)),
  ]);
  assert.deepEqual(codes.toSorted(), ["invite-invalid", "ok"], "one use lets one person in");
  await using late = await RawClient.connect(server, { host });
  assert.equal(await refusal(prepareRegistration(late, "carol", { invite })), "invite-invalid");
});

test("an invite expires", async (t) => {
  let nowMs = Date.now();
  await using server = await startServer({}, { now: () => nowMs });
  const host = publicAddress(server);
  if (host === undefined) return t.skip("this machine has no address besides loopback");
  const invite = inviteOf(server.firstInvite);
  nowMs += 8 * 24 * 60 * 60 * 1000;
  await using client = await RawClient.connect(server, { host });
  assert.equal(await refusal(prepareRegistration(client, "alice", { invite })), "invite-invalid");
});

test("this machine itself registers without an invite on the first day, if it speaks for itself", async () => {
  let nowMs = Date.now();
  await using server = await startServer({}, { now: () => nowMs });
  const policy = async (headers: Record<string, string> = {}, host = "localhost") => {
    await using client = await RawClient.connect(server, { headers, host });
    return client.hello.registration;
  };
  assert.equal(await policy(), "open");
  assert.equal(await policy({}, "127.0.0.1"), "open");
  assert.equal(await policy({ host: "chat.example.org" }), "invite", "a tunnel asks for another name");
  for (const name of ["x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via"])
    assert.equal(await policy({ [name]: "203.0.113.7" }), "invite", `a proxy speaks for others: ${name}`);
  assert.equal(await policy({ host: "localhost" }), "invite", "a forward asks for another port");
  assert.equal(await policy({ host: `localhost:${server.port}` }, "127.0.0.1"), "invite", "nginx names no host in TLS");
  nowMs += limits.localRegistrationMs;
  assert.equal(await policy(), "invite");
  nowMs -= 2 * limits.localRegistrationMs;
  assert.equal(await policy(), "invite", "a clock set back opens no door");

  await using off = await startServer({ localRegistration: "off" });
  await using client = await RawClient.connect(off);
  assert.equal(client.hello.registration, "invite");
  assert.equal(await refusal(prepareRegistration(client, "alice")), "invite-needed");
});

test("a closed server takes nobody, an open one everybody", async () => {
  await using closed = await startServer({ registration: "closed" });
  assert.equal(closed.firstInvite, undefined);
  await using client = await RawClient.connect(closed);
  assert.equal(client.hello.registration, "closed");
  assert.equal(await refusal(prepareRegistration(client, "alice")), "registration-closed");

  await using open = await startServer({ registration: "open", localRegistration: "off", strangers: "request" });
  await using other = await RawClient.connect(open);
  assert.equal(other.hello.strangers, "request");
  await register(other, "alice");
});

test("an account that is not here has an empty chain, and costs the others nothing", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const alice = await register(client, "alice");
  const nobody = random.bytes(16);
  const { chains } = await client.request("getChains", {
    accounts: [nobody, alice.account].map((account) => ({ account, from: 0 })),
  });
  assert.deepEqual(
    chains.map(({ entries }) => entries.length),
    [0, 3],
  );
  assert.ok(sameBytes(chains[0]!.account, nobody));
});

test("the password brings the vaults, a wrong one and an unknown name the same answer", async () => {
  await using server = await startServer();
  await using device = await RawClient.connect(server);
  const alice = await register(device, "alice");

  await using right = await RawClient.connect(server);
  const login = await logIn(right, "alice", alice.password);
  const opened = await login.finish();
  assert.ok(sameBytes(opened.account, alice.account));
  assert.equal(opened.chain.length, 3);
  assert.equal(await refusal(login.finish()), "login-expired", "a login is used once");

  const attempt = async (name: string, password: string) => {
    await using client = await RawClient.connect(server);
    const { started, finish } = await logIn(client, name, password);
    const shape = {
      login: started.login.length,
      account: started.account.length,
      response: started.response.length,
      stretching: started.stretching,
    };
    return { shape, account: started.account, code: await refusal(finish()) };
  };
  const wrong = await attempt("alice", "not the password");
  const unknown = await attempt("nobody", "not the password");
  assert.deepEqual(unknown.shape, wrong.shape);
  assert.equal(wrong.code, "wrong-password");
  assert.equal(unknown.code, "wrong-password");
  assert.deepEqual(
    (await attempt("nobody", "another")).account,
    unknown.account,
    "an unknown name keeps its account id",
  );
});

test("a wrong password and an unknown name take about as long", async () => {
  await using server = await startServer();
  await using device = await RawClient.connect(server);
  await register(device, "alice");
  const times: Record<string, number[]> = { alice: [], nobody: [] };
  for (let round = 0; round < 40; round++) {
    await using client = await RawClient.connect(server);
    for (const name of ["alice", "nobody"]) {
      const { started } = await logIn(client, name, "wrong");
      const startMs = performance.now();
      await refusal(client.request("finishLogin", { login: started.login, finish: random.bytes(64) }));
      times[name]!.push(performance.now() - startMs);
    }
  }
  const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1]!;
  const [one, other] = [median(times["alice"]!), median(times["nobody"]!)];
  assert.ok(Math.max(one, other) < 2 * Math.min(one, other) + 0.5, `${one} and ${other} ms`);
});

test("guessing is slowed down whether or not the second half is sent, and devices are not concerned", async (t) => {
  await using server = await startServer({ registration: "open" });
  const host = publicAddress(server);
  if (host === undefined) return t.skip("this machine has no address besides loopback");
  await using device = await RawClient.connect(server, { host });
  const alice = await register(device, "alice");
  await using client = await RawClient.connect(server, { host });
  for (let i = 0; i < 10; i++) await (await logIn(client, "alice", alice.password)).finish();

  await using guesser = await RawClient.connect(server, { host });
  for (let i = 0; i < 5; i++) await logIn(guesser, "alice", "a guess, tested without asking again");
  const failure = await logIn(guesser, "alice", "one more").then(
    () => undefined,
    (error) => error.failure,
  );
  assert.equal(failure.code, "rate-limited");
  assert.ok(failure.retryAfterMs > 60_000);
  await logIn(guesser, "bob", "another name is counted apart");
  device.close();
  await using back = await RawClient.connect(server, { host });
  await back.request("authenticate", proofOf(back, alice));
  await using local = await RawClient.connect(server);
  await (await logIn(local, "alice", alice.password)).finish();
});

test("behind a port forward on this machine the owner's login opens the door to no guesser", async () => {
  await using server = await startServer();
  await using device = await RawClient.connect(server);
  const alice = await register(device, "alice");
  await using owner = await RawClient.connect(server);
  await (await logIn(owner, "alice", alice.password)).finish();
  const codes: string[] = [];
  while (codes.length < buckets.loginFailedAnywhere.burst + 10) {
    await using guesser = await RawClient.connect(server);
    for (let i = 0; i < limits.loginsPerConnectionMax; i++) codes.push(await refusal(logIn(guesser, "alice", "guess")));
  }
  assert.ok(
    codes.slice(0, 50).every((code) => code === "ok"),
    "the limit by address does not apply",
  );
  assert.ok(
    codes.slice(-5).every((code) => code === "rate-limited"),
    "the one by name does",
  );
});

test("a connection has few logins, whatever the names", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  for (let i = 0; i < limits.loginsPerConnectionMax; i++) await logIn(client, `name-${i}`, "x");
  assert.equal(await refusal(logIn(client, "one-more", "x")), "rate-limited");
  await using other = await RawClient.connect(server);
  await logIn(other, "one-more", "x");
});

test("a login belongs to its connection and lives a minute", async () => {
  let monotonicMs = 0;
  await using server = await startServer({}, { monotonicMs: () => monotonicMs });
  await using device = await RawClient.connect(server);
  const alice = await register(device, "alice");
  await using one = await RawClient.connect(server);
  await using two = await RawClient.connect(server);
  const { started } = await logIn(one, "alice", alice.password);
  assert.equal(
    await refusal(two.request("finishLogin", { login: started.login, finish: random.bytes(64) })),
    "login-expired",
  );
  const slow = await logIn(one, "alice", alice.password);
  monotonicMs += limits.loginStateMs + 1;
  assert.equal(await refusal(slow.finish()), "login-expired");
});

test("a device proves itself by its key, on this connection, as itself", async () => {
  await using server = await startServer();
  await using first = await RawClient.connect(server);
  const alice = await register(first, "alice");
  await using others = await RawClient.connect(server);
  const bob = await register(others, "bob");

  await using client = await RawClient.connect(server);
  const proof = proofOf(client, alice);
  const wrong: Record<string, object> = {
    "another connection's challenge": proofOf(first, alice),
    "someone else's account": { ...proof, account: bob.account },
    "someone else's device": { ...proof, device: bob.keys.device },
    "an unknown device": { ...proof, device: random.bytes(16) },
    "someone else's key": {
      ...proofOf(client, { ...bob, keys: { ...bob.keys, device: alice.keys.device } }),
      account: alice.account,
    },
    "a forged signature": { ...proof, signature: random.bytes(64) },
    "a key of no device": proofOf(client, {
      ...alice,
      keys: { ...createDeviceKeys(random), device: alice.keys.device },
    }),
  };
  for (const [what, params] of Object.entries(wrong))
    assert.equal(await refusal(client.ask("authenticate", params)), "device-refused", what);
  await client.request("authenticate", proof);
  assert.equal(await refusal(client.request("authenticate", proof)), "not-permitted");
  await first.closed;
  assert.deepEqual(first.events.at(-1)?.payload, { reason: "replaced" });
});

test("a copied store is noticed", async () => {
  await using server = await startServer();
  await using first = await RawClient.connect(server);
  const alice = await register(first, "alice");
  const copy = { ...alice };
  await using own = await authenticate(server, alice);
  await using client = await RawClient.connect(server);
  assert.equal(await refusal(client.request("authenticate", proofOf(client, copy))), "store-copied");
  assert.equal(own.closeCode, undefined, "the session in use goes on");
});

test("a device that logged out comes back with the password alone", async () => {
  await using server = await startServer();
  await using first = await RawClient.connect(server);
  const alice = await register(first, "alice");
  await using bobs = await RawClient.connect(server);
  const bob = await register(bobs, "bob");
  assert.deepEqual(await first.request("logout", {}), {});
  await first.closed;
  assert.deepEqual(first.events.at(-1)?.payload, { reason: "logged-out" });

  await using client = await RawClient.connect(server);
  assert.equal(await refusal(client.request("authenticate", proofOf(client, alice))), "device-logged-out");
  await (await logIn(client, "bob", bob.password)).finish();
  assert.equal(
    await refusal(client.request("authenticate", proofOf(client, alice))),
    "device-logged-out",
    "someone else's password",
  );
  await (await logIn(client, "alice", alice.password)).finish();
  await client.request("authenticate", proofOf(client, alice));
  client.close();
  await using again = await authenticate(server, alice);
  assert.equal(again.closeCode, undefined);
});

test("accounts, passwords and devices outlive a restart", async () => {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const data = await mkdtemp("/tmp/sotto-restart-");
  let alice;
  let deployment;
  {
    await using server = await startServer({ data });
    await using client = await RawClient.connect(server);
    deployment = client.hello.deployment;
    alice = await register(client, "alice");
  }
  {
    await using server = await startServer({ data });
    await using client = await authenticate(server, alice);
    assert.deepEqual(client.hello.deployment, deployment);
    await using other = await RawClient.connect(server);
    await (await logIn(other, "alice", alice.password)).finish();
  }
  await rm(data, { recursive: true });
});
