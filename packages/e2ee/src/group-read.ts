/**
 * The two things that the library does with what arrives: open a PrivateMessage, apply a commit. Around them stand the checks
 * that it lacks: who the sender is, whether a key was used before (process-message.ts, commit-guard.ts). May throw on any
 * input; process-message.ts turns that into a result.
 */
import { acceptAll, emptyPskIndex, type GenerationSecret, type PrivateMessage, processPublicMessage } from "ts-mls";
import { deriveTreeSecret } from "ts-mls/crypto/kdf.js";
import { encodeGroupContext } from "ts-mls/groupContext.js";
import { unprotectPrivateMessage } from "ts-mls/messageProtection.js";
import { decryptSenderData } from "ts-mls/privateMessage.js";
import type { PublicMessage } from "ts-mls/publicMessage.js";
import {
  type CiphersuiteImpl,
  closedConfig,
  type CredentialCheck,
  engineSuite,
  type EngineState,
  forwardStepsMax,
  unusedKeysMax,
  withConfig,
} from "./group-engine.ts";
import { Group, type GroupLeaf, leafAt } from "./group-state.ts";

export type Opened =
  | {
      kind: "opened";
      group: Group;
      content: Uint8Array;
      sender: GroupLeaf;
      authenticatedData: Uint8Array;
      /** The sender's, over the content in its epoch; with the epoch's GroupContext it proves to others who wrote it. */
      signature: Uint8Array;
      groupContext: Uint8Array;
    }
  /** Sent by this very leaf: its plaintext was kept when it was sent. */
  | { kind: "own" }
  /** Its key was used: it has been read before. */
  | { kind: "used" }
  /** Its key was dropped: too many later messages of that sender were read before it. */
  | { kind: "gone" }
  /** More messages of that sender are missing than a ratchet may be moved. */
  | { kind: "too-far" }
  | { kind: "no-such-epoch" }
  | { kind: "unknown-sender" };

/** Opens an application message of the current or a kept past epoch. @throws if it does not decrypt or verify */
export async function openMessage(group: Group, state: EngineState, message: PrivateMessage): Promise<Opened> {
  const suite = await engineSuite(group.suite);
  const past = state.historicalReceiverData.get(message.epoch);
  const isCurrent = message.epoch === state.groupContext.epoch;
  const senderDataSecret = isCurrent ? state.keySchedule.senderDataSecret : past?.senderDataSecret;
  if (senderDataSecret === undefined) return { kind: "no-such-epoch" };
  const tree = isCurrent ? state.ratchetTree : past!.ratchetTree;
  const secrets = isCurrent ? state.secretTree : past!.secretTree;

  const senderData = await decryptSenderData(message, senderDataSecret, suite);
  if (senderData === undefined) return { kind: "unknown-sender" };
  if (senderData.leafIndex === state.privatePath.leafIndex) return { kind: "own" };
  const sender = leafAt(tree, senderData.leafIndex);
  const ratchet = secrets[senderData.leafIndex * 2]?.application;
  if (sender === undefined || ratchet === undefined) return { kind: "unknown-sender" };
  if (senderData.generation < ratchet.generation && ratchet.unusedGenerations[senderData.generation] === undefined)
    return { kind: senderData.generation < ratchet.generation - unusedKeysMax ? "gone" : "used" };
  if (senderData.generation - ratchet.generation > forwardStepsMax) return { kind: "too-far" };

  const node = senderData.leafIndex * 2;
  const advanced = secrets.with(node, {
    ...secrets[node]!,
    application: await advance(ratchet, senderData.generation, suite),
  });
  const groupContext = isCurrent ? state.groupContext : past!.groupContext;
  // Success proves the signature of the leaf that the sender data names.
  const { content: opened, tree: secretTree } = await unprotectPrivateMessage(
    senderDataSecret,
    message,
    advanced,
    tree,
    groupContext,
    state.clientConfig.keyRetentionConfig,
    suite,
  );
  if (opened.content.contentType !== "application") throw new TypeError("not an application message");
  const current: EngineState = isCurrent
    ? { ...state, secretTree }
    : {
        ...state,
        historicalReceiverData: new Map(state.historicalReceiverData).set(message.epoch, { ...past!, secretTree }),
      };
  return {
    kind: "opened",
    group: new Group({ ...group.parts(), current }),
    content: opened.content.applicationData,
    sender,
    authenticatedData: message.authenticatedData,
    signature: opened.auth.signature,
    groupContext: encodeGroupContext(groupContext),
  };
}

/**
 * Moves a ratchet up to a generation and keeps the keys passed by, the newest `unusedKeysMax` of them (RFC 9420 §9.2). The
 * library would do the same, but copies all keys at every step: ten times slower over the 2,000 steps that any member can ask for.
 */
async function advance(
  ratchet: GenerationSecret,
  generation: number,
  suite: CiphersuiteImpl,
): Promise<GenerationSecret> {
  if (generation <= ratchet.generation) return ratchet;
  let { secret } = ratchet;
  const unused = Object.entries(ratchet.unusedGenerations) as unknown as [number, Uint8Array][];
  for (let passed = ratchet.generation; passed < generation; passed++) {
    unused.push([passed, secret]);
    secret = await deriveTreeSecret(secret, "secret", passed, suite.kdf.size, suite.kdf);
  }
  return { secret, generation, unusedGenerations: Object.fromEntries(unused.slice(-unusedKeysMax)) };
}

/** The state after a commit of the current epoch; the result counts only if `check.missing` stays empty. @throws */
export async function applyCommit(
  state: EngineState,
  message: PublicMessage,
  suite: Group["suite"],
  check: CredentialCheck,
): Promise<EngineState> {
  const checked = withConfig(state, check.config);
  const { newState } = await processPublicMessage(checked, message, emptyPskIndex, await engineSuite(suite), acceptAll);
  return withConfig(newState, closedConfig);
}
