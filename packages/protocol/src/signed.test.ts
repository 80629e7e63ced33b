import assert from "node:assert/strict";
import { test } from "node:test";
import { ed25519 } from "@noble/curves/ed25519.js";
import { directConversationId } from "./conversation-id.ts";
import { decodeCredential, encodeCredential } from "./credential.ts";
import { joinBytes, toHex } from "./ids.ts";
import {
  certificateBytes,
  chainEntryBytes,
  deviceChallengeBytes,
  deviceSealBytes,
  recoveryChallengeBytes,
  vaultBundleBytes,
  verifySignature,
} from "./signed.ts";

const id = new Uint8Array(16).fill(1);
const key = new Uint8Array(32).fill(2);

test("no two purposes share their signed bytes, whatever is signed", () => {
  const everything = [
    deviceChallengeBytes({ deployment: key, device: id, challenge: key }),
    recoveryChallengeBytes({ deployment: key, account: id, challenge: key }),
    chainEntryBytes(key),
    certificateBytes({ account: id, device: id, signatureKey: key, encryptionKey: key }),
    vaultBundleBytes({
      account: id,
      rootVersion: 1,
      registrationRecord: key,
      wrapPassword: key,
      wrapRecovery: key,
      rootVault: key,
      recoveryPublicKey: key,
    }),
    deviceSealBytes({ account: id, purpose: "x", version: 1, secretHash: key, device: id, sealedHash: key }),
  ];
  // The label is the first item, of a length that its own head tells: no label is the beginning of another.
  const labels = everything.map((bytes) => toHex(bytes.subarray(1, 24)));
  assert.equal(new Set(labels).size, everything.length);
});

test("a signature of another shape, or by a key of small order, is no signature", () => {
  const { secretKey, publicKey } = ed25519.keygen(new Uint8Array(32).fill(3));
  const signature = ed25519.sign(key, secretKey);
  assert.equal(verifySignature(publicKey, key, signature), true);
  assert.equal(verifySignature(publicKey, id, signature), false);
  assert.equal(verifySignature(publicKey.subarray(1), key, signature), false);
  assert.equal(verifySignature(publicKey, key, signature.subarray(1)), false);
  const smallOrder = new Uint8Array(32);
  smallOrder[0] = 1;
  assert.equal(verifySignature(smallOrder, key, joinBytes(smallOrder, new Uint8Array(32))), false);
});

test("a direct conversation has one id, whoever computes it", () => {
  const other = new Uint8Array(16).fill(9);
  assert.deepEqual(directConversationId(id, other), directConversationId(other, id));
  assert.equal(directConversationId(id, other).length, 16);
  assert.notDeepEqual(directConversationId(id, other), directConversationId(id, id));
});

test("a credential is three byte strings of the right length and nothing else", () => {
  const credential = { account: id, device: key.slice(0, 16), certificate: new Uint8Array(64) };
  const bytes = encodeCredential(credential);
  assert.deepEqual(decodeCredential(bytes), credential);
  assert.equal(decodeCredential(encodeCredential({ ...credential, device: key })), undefined);
  assert.equal(decodeCredential(bytes.subarray(1)), undefined);
  assert.equal(decodeCredential(new Uint8Array(1000)), undefined);
});
