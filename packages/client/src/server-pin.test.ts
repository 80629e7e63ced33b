import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import { type Result, formatFingerprint, tlsKeyBytes } from "@sotto/protocol";
import { checkServer, formatAddress, parseAddress, pinServer } from "./server-pin.ts";

const address = { host: "chat.example.org", port: 12345 };

/** A deployment, and what a connection to it shows. */
function deployment() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = new Uint8Array(publicKey.export({ type: "spki", format: "der" }).subarray(-32));
  const show = (tlsKey: Uint8Array | undefined, options: { publicRoot?: boolean; signed?: Uint8Array } = {}) => ({
    hello: {
      deployment: raw,
      tlsKeySignature: options.signed
        ? new Uint8Array(sign(null, tlsKeyBytes(options.signed), privateKey))
        : new Uint8Array(64),
    } as Result<"hello">,
    tlsKey,
    publicRoot: options.publicRoot ?? false,
  });
  return { show };
}

const oldKey = new Uint8Array(32).fill(1);
const newKey = new Uint8Array(32).fill(2);
const changed = { code: "server-key-changed", kind: "security" };

test("the first contact pins key and deployment, and the same server is the same afterwards", () => {
  const { show } = deployment();
  const pin = pinServer(address, show(oldKey), undefined);
  assert.equal(pin.mode, "key");
  assert.equal(checkServer(pin, show(oldKey)), "same");
});

test("a fingerprint that is insisted on must fit, wherever it was written down", () => {
  const { show } = deployment();
  for (const text of [formatFingerprint(oldKey), formatFingerprint(oldKey).toUpperCase().replaceAll("-", "")]) {
    assert.equal(pinServer(address, show(oldKey), text).mode, "key");
  }
  assert.throws(() => pinServer(address, show(newKey), formatFingerprint(oldKey)), {
    code: "fingerprint-mismatch",
    kind: "security",
  });
  assert.throws(() => pinServer(address, show(undefined), formatFingerprint(oldKey)), { code: "fingerprint-mismatch" });
  assert.throws(() => pinServer(address, show(oldKey), "SHA256:12"), { code: "invalid-argument" });
});

test("a new key that the pinned deployment signed is taken and kept; any other is a security stop", () => {
  const { show } = deployment();
  const pin = pinServer(address, show(oldKey), undefined);
  const checked = checkServer(pin, show(newKey, { signed: newKey }));
  assert.ok(checked !== "same");
  assert.deepEqual(checked.rotated, { ...pin, tlsKey: newKey });
  assert.throws(() => checkServer(pin, show(newKey)), changed);
  assert.throws(
    () => checkServer(pin, show(newKey, { signed: oldKey })),
    changed,
    "a signature for another key is none",
  );
  const other = deployment();
  assert.throws(
    () => checkServer(pin, other.show(newKey, { signed: newKey })),
    changed,
    "whoever signs for itself is somebody else",
  );
  assert.throws(
    () => checkServer(pin, other.show(oldKey)),
    { ...changed, message: /as another deployment than before; nothing was sent$/ },
    "the same TLS key with another deployment is another server",
  );
});

test("where an authority vouches for the name, keys may come and go, but the deployment stays", () => {
  const { show } = deployment();
  const pin = pinServer(address, show(oldKey, { publicRoot: true }), undefined);
  assert.equal(pin.mode, "public-root");
  assert.equal(checkServer(pin, show(newKey, { publicRoot: true })), "same");
  assert.throws(
    () => checkServer(pin, show(newKey, { publicRoot: false })),
    changed,
    "the mode never changes by itself",
  );
  assert.throws(() => checkServer(pin, deployment().show(newKey, { publicRoot: true })), changed);
  assert.equal(pinServer(address, show(oldKey, { publicRoot: true }), formatFingerprint(oldKey)).mode, "key");
});

test("a pinned key is not given up because an authority vouches for another", () => {
  const { show } = deployment();
  const pin = pinServer(address, show(oldKey), undefined);
  assert.throws(() => checkServer(pin, show(newKey, { publicRoot: true })), changed);
});

test("a browser, which hides the key, holds on to the deployment", () => {
  const { show } = deployment();
  const pin = pinServer(address, show(undefined, { publicRoot: true }), undefined);
  assert.equal(checkServer(pin, show(undefined, { publicRoot: true })), "same");
  assert.throws(() => checkServer(pin, deployment().show(undefined, { publicRoot: true })), changed);
});

test("addresses are HOST, HOST:PORT and IPv6 in brackets", () => {
  assert.deepEqual(parseAddress(" localhost "), { host: "localhost", port: 12345 });
  assert.deepEqual(parseAddress("chat.example.org:443"), { host: "chat.example.org", port: 443 });
  assert.deepEqual(parseAddress("[::1]:99"), { host: "::1", port: 99 });
  assert.equal(formatAddress({ host: "::1", port: 99 }), "[::1]:99");
  for (const bad of ["", "https://x", "x:0", "x:65536", "x:y", "::1", "a/b", "[x]:1"]) {
    assert.throws(() => parseAddress(bad), { code: "invalid-argument" }, bad);
  }
});
