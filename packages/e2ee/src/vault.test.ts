import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { compareBytes, joinBytes, recoveryChallengeBytes, vaultBundleBytes, verifySignature } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";
import { createIdentity } from "./identity.ts";
import { createRecoveryCode, formatRecoveryCode, parseRecoveryCode } from "./recovery-code.ts";
import { safetyNumber } from "./safety-number.ts";
import { Secret } from "./secret.ts";
import { seededRandom } from "./testing/people.ts";
import {
  archiveKey,
  createMasterKey,
  createVaults,
  keyFromExportKey,
  keyFromRecoveryCode,
  openAccountVault,
  openRecord,
  openRootVault,
  recoveryAuthKey,
  sealAccountVault,
  sealRecord,
  sealRootVault,
  signRecoveryChallenge,
} from "./vault.ts";

const random = seededRandom("vault");
const account = random.bytes(16);
const exportKey = random.bytes(64);
const identity = createIdentity(random);
const recovery = createRecoveryCode(random);
const registrationRecord = random.bytes(192);
const closed = (error: unknown) => error instanceof E2eeError && error.code === "cannot-open";

function vaults() {
  return createVaults({
    random,
    account,
    exportKey,
    registrationRecord,
    recoveryCode: recovery.secret,
    identitySeed: identity.seed,
    accountVaultContent: Uint8Array.of(1, 2, 3),
  });
}

test("password and recovery code open the same root vault, and that the account vault", () => {
  const made = vaults();
  const byPassword = openRootVault({ account, ...made, exportKey });
  const byCode = openRootVault({ account, ...made, recoveryCode: recovery.secret });
  for (const opened of [byPassword, byCode]) {
    assert.deepEqual(opened.identitySeed, identity.seed);
    assert.deepEqual(opened.kekRecovery.reveal(), keyFromRecoveryCode(recovery.secret).reveal());
    assert.deepEqual(
      opened.amks.map(({ version, key }) => [version, key.reveal()]),
      [[1, made.amk.key.reveal()]],
    );
    assert.deepEqual(
      openAccountVault({ account, amks: opened.amks, version: 1, accountVault: made.accountVault }),
      Uint8Array.of(1, 2, 3),
    );
  }
});

test("a wrong password, code, account or version opens nothing, nor do altered bytes", () => {
  const made = vaults();
  assert.throws(() => openRootVault({ account, ...made, exportKey: random.bytes(64) }), closed);
  assert.throws(() => openRootVault({ account, ...made, recoveryCode: random.bytes(20) }), closed);
  assert.throws(() => openRootVault({ ...made, account: random.bytes(16), exportKey }), closed);
  assert.throws(() => openRootVault({ account, ...made, rootVersion: 2, exportKey }), closed);
  assert.throws(() => openRootVault({ account, ...made, wrapPassword: made.wrapRecovery, exportKey }), closed);
  for (let at = 0; at < made.rootVault.length; at += 7) {
    const altered = made.rootVault.slice();
    altered[at]! ^= 1;
    assert.throws(() => openRootVault({ account, ...made, rootVault: altered, exportKey }), closed);
  }
  const { accountVault, amk } = made;
  assert.throws(() => openAccountVault({ account, amks: [createMasterKey(random)], version: 1, accountVault }), closed);
  assert.throws(() => openAccountVault({ account, amks: [], version: 1, accountVault }), closed);
  assert.throws(() => openAccountVault({ account, amks: [amk], version: 2, accountVault }), closed);
  assert.throws(() => openAccountVault({ account, amks: [amk], version: 1, accountVault: new Uint8Array(3) }), closed);
});

test("the identity key signs the whole bundle, and the OPAQUE record with it", () => {
  const made = vaults();
  const holds = (changed: object) =>
    verifySignature(
      identity.publicKey,
      vaultBundleBytes({ account, registrationRecord, ...made, ...changed }),
      made.signature,
    );
  assert.equal(holds({}), true);
  for (const field of [
    "registrationRecord",
    "wrapPassword",
    "wrapRecovery",
    "rootVault",
    "recoveryPublicKey",
    "account",
  ]) {
    assert.equal(holds({ [field]: random.bytes(16) }), false, field);
  }
  assert.equal(holds({ rootVersion: 2 }), false);
});

test("after a change of password the old one opens nothing new, and the code still opens all", () => {
  const made = vaults();
  const opened = openRootVault({ account, ...made, exportKey });
  const amks = [...opened.amks, createMasterKey(random, 2)];
  const newExportKey = random.bytes(64);
  const changed = sealRootVault({
    ...opened,
    amks,
    random,
    account,
    rootVersion: 2,
    exportKey: newExportKey,
    registrationRecord,
  });
  assert.throws(() => openRootVault({ account, ...changed, exportKey }), closed);
  assert.equal(openRootVault({ account, ...changed, exportKey: newExportKey }).amks.length, 2);
  const byCode = openRootVault({ account, ...changed, recoveryCode: recovery.secret });
  assert.deepEqual(byCode.recoveryPublicKey, recoveryAuthKey(recovery.secret).publicKey);
  const accountVault = sealAccountVault({ random, account, amk: amks[1]!, version: 5, content: Uint8Array.of(9) });
  assert.throws(() => openAccountVault({ account, amks: opened.amks, version: 5, accountVault }), closed);
  assert.deepEqual(openAccountVault({ account, amks: byCode.amks, version: 5, accountVault }), Uint8Array.of(9));
});

test("the same record sealed twice has another salt and shares no bytes", () => {
  const options = {
    random,
    account,
    purpose: "x",
    version: 1,
    key: new Secret(random.bytes(32)),
    plaintext: new Uint8Array(64),
  };
  const [one, two] = [sealRecord(options), sealRecord(options)];
  assert.notDeepEqual(one.subarray(1, 33), two.subarray(1, 33));
  assert.notDeepEqual(one.subarray(33), two.subarray(33));
  assert.deepEqual(openRecord({ ...options, sealed: one }), options.plaintext);
  for (const wrong of [{ purpose: "y" }, { version: 2 }, { account: random.bytes(16) }, { sealed: new Uint8Array() }]) {
    assert.throws(() => openRecord({ ...options, sealed: one, ...wrong }), closed);
  }
});

test("keys for different purposes are different keys", () => {
  const material = random.bytes(64);
  const amk = { version: 1, key: new Secret(material) };
  const keys = [
    keyFromExportKey(material),
    keyFromRecoveryCode(material),
    recoveryAuthKey(material).privateKey,
    archiveKey(amk),
  ];
  assert.equal(new Set(keys.map((key) => key.reveal().join())).size, keys.length);
});

test("the recovery code proves itself to one server, for one account and challenge", () => {
  const key = recoveryAuthKey(recovery.secret);
  const fields = { deployment: random.bytes(32), account, challenge: random.bytes(32) };
  const signature = signRecoveryChallenge(key, fields);
  assert.equal(verifySignature(key.publicKey, recoveryChallengeBytes(fields), signature), true);
  assert.equal(
    verifySignature(key.publicKey, recoveryChallengeBytes({ ...fields, challenge: random.bytes(32) }), signature),
    false,
  );
});

test("a recovery code is read however it was written down", () => {
  const { text, secret } = recovery;
  assert.match(text, /^([0-9A-HJKMNP-TV-Z]{4}-){8}[0-9A-HJKMNP-TV-Z]{4}$/);
  for (const variant of [
    text,
    text.toLowerCase(),
    text.replaceAll("-", ""),
    text.replaceAll("-", " – "),
    ` ${text}\n`,
  ]) {
    assert.deepEqual(parseRecoveryCode(variant), { kind: "ok", secret });
  }
  const zeros = formatRecoveryCode(new Uint8Array(20));
  for (const variant of [zeros.replaceAll("0", "O"), zeros.replaceAll("0", "o")]) {
    assert.deepEqual(parseRecoveryCode(variant), { kind: "ok", secret: new Uint8Array(20) });
  }
  const ones = formatRecoveryCode(Uint8Array.from({ length: 20 }, () => 0b00001000));
  assert.equal(parseRecoveryCode(ones.replaceAll("1", "l")).kind, "ok");
  assert.equal(parseRecoveryCode(ones.replaceAll("1", "I")).kind, "ok");
});

test("a slip of the pen is told apart from a wrong code", () => {
  const { text } = recovery;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "-") continue;
    const slip = text.slice(0, at) + (text[at] === "7" ? "8" : "7") + text.slice(at + 1);
    assert.deepEqual(parseRecoveryCode(slip), { kind: "typo" }, slip);
    const swapped = text.slice(0, at) + text[at + 1] + text[at] + text.slice(at + 2);
    if (text[at + 1] !== "-" && text[at + 1] !== undefined && text[at] !== text[at + 1])
      assert.deepEqual(parseRecoveryCode(swapped), { kind: "typo" }, swapped);
  }
  for (const wrong of ["", text.slice(1), `${text}0`, text.replace(/.$/, "U"), "hello"]) {
    assert.deepEqual(parseRecoveryCode(wrong), { kind: "typo" });
  }
});

test("the safety number is the same for both, and agrees with an independent computation", () => {
  const [alice, bob] = [1, 2].map((name) => ({
    account: new Uint8Array(16).fill(name),
    identityKey: new Uint8Array(32).fill(name + 10),
  }));
  const number = safetyNumber(alice!, bob!);
  assert.deepEqual(safetyNumber(bob!, alice!), number);
  assert.match(number.digits, /^(\d{5} ){11}\d{5}$/);
  assert.notEqual(safetyNumber(alice!, { ...bob!, identityKey: alice!.identityKey }).digits, number.digits);

  // Signal's NumericFingerprintGenerator, written again with Node's own hash and big integers.
  const side = ({ account: stableIdentifier, identityKey }: typeof alice & object) => {
    let hash: Uint8Array = joinBytes(Uint8Array.of(0, 0), identityKey, stableIdentifier);
    for (let i = 0; i < 5200; i++) hash = createHash("sha512").update(hash).update(identityKey).digest();
    const chunk = (at: number) => BigInt(`0x${Buffer.from(hash.subarray(at, at + 5)).toString("hex")}`) % 100_000n;
    return { hash, digits: [0, 5, 10, 15, 20, 25].map((at) => chunk(at).toString().padStart(5, "0")).join("") };
  };
  const sides = [side(alice!), side(bob!)];
  assert.equal(
    number.digits.replaceAll(" ", ""),
    sides
      .map(({ digits }) => digits)
      .sort()
      .join(""),
  );
  const [lower, higher] = sides.map(({ hash }) => hash.subarray(0, 32)).sort(compareBytes);
  const qr = Buffer.from(number.qr).toString("hex");
  assert(qr.includes(Buffer.from(lower!).toString("hex")) && qr.includes(Buffer.from(higher!).toString("hex")));
});
