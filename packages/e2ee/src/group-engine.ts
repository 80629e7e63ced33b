/**
 * Our side of ts-mls 1.6.4: its configuration, the credential check it calls for every leaf, key packages, padding, and the
 * few of its inner functions that we need. Only the `group*.ts` files import the library, so replacing it touches nothing
 * else (RFC 9420; the traps behind each setting are in docs/encryption.md#conversations).
 */
import {
  type AccountId,
  type ConversationId,
  decodeCredential,
  joinBytes,
  type SuiteNumber,
  toHex,
} from "@sotto/protocol";
import { decodeMlsBytes, expiryExtension, lastResortExtension, loadSuite, suiteName } from "@sotto/protocol/mls-public";
import {
  type Capabilities,
  type CiphersuiteImpl,
  type ClientConfig,
  type ClientState,
  defaultKeyPackageEqualityConfig,
  defaultLifetime,
  defaultLifetimeConfig,
  encodeMlsMessage,
  type Extension,
  generateKeyPackageWithKey,
  type KeyPackage,
  type PrivateKeyPackage,
} from "ts-mls";
import { makeKeyPackageRef } from "ts-mls/keyPackage.js";
import { type Directory, judgeCredential } from "./credential.ts";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";

/** MLS ciphersuites: 1 (X25519, AES-128-GCM, SHA-256) and 83 (X-Wing, AES-256-GCM, SHA-512); Ed25519 in both. */
export type Suite = SuiteNumber;
export type EngineState = ClientState;
export type { CiphersuiteImpl, KeyPackage, PrivateKeyPackage };

/** Stored with every record: which library wrote it. */
export const engineName = "ts-mls 1";

export const pastEpochsKept = 2;
export const forwardStepsMax = 2000;
export const unusedKeysMax = 1000;

const capabilities: Capabilities = {
  versions: ["mls10"],
  ciphersuites: [suiteName(1), suiteName(83)],
  extensions: [],
  proposals: [],
  credentials: ["basic"],
};

/** The MLS group id: a conversation may move to a new group (reset, other suite), which is its next generation. */
export function groupIdOf(conversation: ConversationId, generation: number): Uint8Array {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(generation));
  return joinBytes(conversation, number);
}

/** Which conversation and generation an MLS group id names, or undefined if it is none of ours. */
export function readGroupId(groupId: Uint8Array): { conversation: ConversationId; generation: number } | undefined {
  if (groupId.length !== 24) return undefined;
  const generation = Number(new DataView(groupId.buffer, groupId.byteOffset + 16, 8).getBigUint64(0));
  return Number.isSafeInteger(generation) ? { conversation: groupId.slice(0, 16), generation } : undefined;
}

/** One call's view of whom to believe; `missing` gathers the accounts whose chains it lacked. */
export interface CredentialCheck {
  readonly config: ClientConfig;
  readonly missing: AccountId[];
}

/**
 * The library asks for one leaf after the other and gives up at the first no. So a chain we lack counts as yes for the length
 * of the call, and the caller must throw the result away if `missing` is not empty: that way all are asked for at once.
 * Revoked leaves pass here: they may stand in a tree. Whether one may enter or commit is the caller's to check.
 */
export function credentialCheck(directory: Directory): CredentialCheck {
  const missing = new Map<string, AccountId>();
  const config = configWith({
    async validateCredential(credential, signatureKey) {
      if (credential.credentialType !== "basic") return false;
      const verdict = judgeCredential(directory, { identity: credential.identity, signatureKey });
      if (verdict === "needs-chain") {
        const account = decodeCredential(credential.identity)!.account;
        missing.set(toHex(account), account);
      }
      return verdict !== "invalid";
    },
  });
  return {
    config,
    get missing() {
      return [...missing.values()];
    },
  };
}

/** Believes nobody: what a group carries between calls, so that a forgotten directory fails closed. */
export const closedConfig: ClientConfig = configWith({ validateCredential: () => Promise.resolve(false) });

function configWith(authService: ClientConfig["authService"]): ClientConfig {
  return {
    keyRetentionConfig: {
      retainKeysForEpochs: pastEpochsKept,
      retainKeysForGenerations: unusedKeysMax,
      maximumForwardRatchetSteps: forwardStepsMax,
    },
    lifetimeConfig: defaultLifetimeConfig,
    keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
    paddingConfig: { kind: "padUntilLength", padUntilLength: 256 },
    authService,
  };
}

/** 256, 512, 1 k, 2 k …: what an observer learns of a message's length. `contentBytes` counts what is inside the framing. */
export function paddedBytes(contentBytes: number): number {
  // RFC 9420 §6.3.1: content and signature, each with its length in front.
  const framed = contentBytes + 4 + 2 + 64;
  let padded = 256;
  while (padded < framed) padded *= 2;
  return padded;
}

/** The state with another padding or another credential check; the rest is shared. */
export function withConfig(state: EngineState, config: Partial<ClientConfig>): EngineState {
  return { ...state, clientConfig: { ...state.clientConfig, ...config } };
}

export function engineSuite(suite: Suite): Promise<CiphersuiteImpl> {
  return loadSuite(suite);
}

/** A fresh leaf with its key package; the library draws the HPKE keys from the platform's own randomness. */
export async function makeKeyPackage(options: {
  device: DeviceKeys;
  identity: Uint8Array;
  suite: Suite;
  notAfterMs: number;
  lastResort: boolean;
}): Promise<{ publicPackage: KeyPackage; privatePackage: PrivateKeyPackage; ref: Uint8Array }> {
  const suite = await engineSuite(options.suite);
  const notAfter = new Uint8Array(8);
  new DataView(notAfter.buffer).setBigUint64(0, BigInt(options.notAfterMs));
  const extensions: Extension[] = [{ extensionType: expiryExtension, extensionData: notAfter }];
  if (options.lastResort) extensions.push({ extensionType: lastResortExtension, extensionData: new Uint8Array() });
  const made = await generateKeyPackageWithKey(
    { credentialType: "basic", identity: options.identity },
    capabilities,
    defaultLifetime,
    extensions,
    { signKey: options.device.signature.privateKey.reveal(), publicKey: options.device.signature.publicKey },
    suite,
  );
  return { ...made, ref: await makeKeyPackageRef(made.publicPackage, suite.hash) };
}

export function encodeKeyPackageMessage(keyPackage: KeyPackage): Uint8Array {
  return encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage });
}

/** For bytes that this device stored itself, or has verified. @throws E2eeError `record-damaged` */
export function decodeKeyPackageMessage(bytes: Uint8Array): KeyPackage {
  const message = decodeMlsBytes(bytes);
  if (message?.wireformat !== "mls_key_package") throw new E2eeError("record-damaged");
  return message.keyPackage;
}
