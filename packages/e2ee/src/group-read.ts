/**
 * The two things that the library does with what arrives: open a PrivateMessage, apply a commit. Around them stand the checks
 * that it lacks: who the sender is, whether a key was used before (process-message.ts, group-guard.ts). May throw on any
 * input; process-message.ts turns that into a result.
 */
import { processPrivateMessage, processPublicMessage, acceptAll, emptyPskIndex, type PrivateMessage } from "ts-mls";
import { decryptSenderData } from "ts-mls/privateMessage.js";
import type { PublicMessage } from "ts-mls/publicMessage.js";
import { closedConfig, type CredentialCheck, type EngineState, engineSuite, unusedKeysMax, withConfig } from "./group-engine.ts";
import { Group, type GroupLeaf, leafAt } from "./group-state.ts";

export type Opened =
  | { kind: "opened"; group: Group; content: Uint8Array; sender: GroupLeaf; authenticatedData: Uint8Array }
  /** Sent by this very leaf: its plaintext was kept when it was sent. */
  | { kind: "own" }
  /** Its key was used: it has been read before. */
  | { kind: "used" }
  /** Its key was dropped: too many later messages of that sender were read before it. */
  | { kind: "gone" }
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

  // Success proves the signature of the leaf that the sender data names.
  const result = await processPrivateMessage(state, message, emptyPskIndex, suite, acceptAll);
  if (result.kind !== "applicationMessage") throw new TypeError("not an application message");
  return {
    kind: "opened",
    group: new Group({ ...group.parts(), current: result.newState }),
    content: result.message,
    sender,
    authenticatedData: message.authenticatedData,
  };
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
