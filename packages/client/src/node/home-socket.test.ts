import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import type { Client, ClientEvent } from "../api.ts";
import { ClientError } from "../errors.ts";
import { OwnerGone, joinHome, serveHome } from "./home-socket.ts";

/** A home with an owner whose client does what `calls` says. */
async function own(t: TestContext, calls: Partial<Record<keyof Client, (argument: never) => Promise<unknown>>>) {
  const folder = mkdtempSync(path.join(tmpdir(), "sotto-socket-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, "sotto.sock");
  const listeners = new Set<(event: ClientEvent) => void>();
  const client = {
    ...calls,
    subscribe(listener: (event: ClientEvent) => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Client;
  const server = await serveHome(file, client);
  t.after(() => server.close());
  const announce = (event: ClientEvent) => listeners.forEach((listener) => listener(event));
  return { file, server, announce, listeners };
}

const quiet = { onEvent: () => {}, onGone: () => {} };

test("calls, results, failures and events travel as they are", async (t) => {
  const { file, announce } = await own(t, {
    send: async (options) => ({ echoed: options }),
    status: async () => {
      throw new ClientError("no-user", "there is no user @x", { hint: "look again", retryAfterMs: 5 });
    },
    flush: async () => {
      throw new TypeError("a bug");
    },
    logout: async () => undefined,
  });
  const events: ClientEvent[] = [];
  const guest = await joinHome(file, { ...quiet, onEvent: (event) => events.push(event) });
  assert.deepEqual(await guest.call("send", { to: "@x", text: "é\u0000" }), { echoed: { to: "@x", text: "é\u0000" } });
  assert.equal(await guest.call("logout", undefined), undefined);
  await assert.rejects(guest.call("status", {}), {
    code: "no-user",
    kind: "missing",
    message: "there is no user @x",
    hint: "look again",
    retryAfterMs: 5,
  });
  await assert.rejects(guest.call("flush", {}), { code: "unexpected", message: "a bug" });
  announce({ type: "read", conversation: "aa", unread: 2 });
  await guest.call("logout", undefined);
  assert.deepEqual(events, [{ type: "read", conversation: "aa", unread: 2 }]);
  guest.close();
});

test("the socket is its user's alone, and a dead owner's file is no obstacle", async (t) => {
  const { file } = await own(t, {});
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const other = `${file}2`;
  writeFileSync(other, "left behind");
  const server = await serveHome(other, { subscribe: () => () => {} } as unknown as Client);
  (await joinHome(other, quiet)).close();
  await server.close();
});

test("nobody there, or something that is no socket, rejects", async (t) => {
  const { file } = await own(t, {});
  await assert.rejects(joinHome(`${file}-none`, quiet));
  writeFileSync(`${file}-text`, "text");
  await assert.rejects(joinHome(`${file}-text`, quiet));
});

test("an owner that ends rejects what its guests wait for as gone, and does not wait for calls that only wait", async (t) => {
  const { file, server } = await own(t, { waitFor: () => new Promise(() => {}) });
  let gone = 0;
  const guest = await joinHome(file, { ...quiet, onGone: () => gone++ });
  const waiting = assert.rejects(guest.call("waitFor", {}), OwnerGone);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const startedAt = performance.now();
  await server.close();
  await waiting;
  assert.ok(performance.now() - startedAt < 1_000);
  assert.equal(gone, 1);
  await assert.rejects(guest.call("waitFor", {}), OwnerGone);
});

test("an owner that ends answers the calls that do something first", async (t) => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const { file, server } = await own(t, { send: () => promise });
  const guest = await joinHome(file, quiet);
  const sending = guest.call("send", {});
  await new Promise((later) => setTimeout(later, 50));
  const closing = server.close();
  resolve("sent");
  assert.equal(await sending, "sent");
  await closing;
});

test("a guest that talks nonsense, hangs up in the middle or does not read keeps nobody", async (t) => {
  const { file, server, announce, listeners } = await own(t, { whoami: async () => "me" });
  const raw = async (bytes: Uint8Array, stays = false) => {
    const socket = connect(file);
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write(bytes);
    if (!stays) socket.end();
    return socket;
  };
  await raw(Uint8Array.of(0, 0, 0, 3, 1, 2));
  await raw(Uint8Array.of(0, 0, 0, 1, 0xff));
  await raw(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  await raw(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  // [1, "close", null] and [1, "constructor", null]: calls that do not travel.
  await raw(Uint8Array.of(0, 0, 0, 9, 0x83, 1, 0x65, 0x63, 0x6c, 0x6f, 0x73, 0x65, 0xf6));
  const deaf = await raw(new Uint8Array(), true);
  deaf.pause();
  const text = "x".repeat(1024 * 1024);
  for (let n = 0; n < 80; n++) announce({ type: "security", code: "c", text });
  const guest = await joinHome(file, quiet);
  assert.equal(await guest.call("whoami", undefined), "me");
  // The one that reads nothing was cut off after 64 MiB, the others when they spoke.
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(server.guests, 1);
  assert.equal(listeners.size, 1);
  deaf.destroy();
  guest.close();
});

test("a large frame that comes in small pieces costs no more than its size", async (t) => {
  const { file } = await own(t, { send: async (options: { text: string }) => options.text.length });
  const guest = await joinHome(file, quiet);
  const startedAt = performance.now();
  assert.equal(await guest.call("send", { text: "x".repeat(30 * 1024 * 1024) }), 30 * 1024 * 1024);
  assert.ok(performance.now() - startedAt < 3_000);
  guest.close();
});

test("where the path is too long for a socket the owner works alone", async (t) => {
  const { file } = await own(t, {});
  const long = path.join(path.dirname(file), "x".repeat(120));
  const server = await serveHome(long, { subscribe: () => () => {} } as unknown as Client);
  assert.equal(server.guests, 0);
  await assert.rejects(joinHome(long, quiet));
  await server.close();
});
