/**
 * `@sotto/e2ee`: end-to-end encryption, bytes in and bytes out. No clock, no network, no disk: times and randomness are
 * handed in. Opens with group.ts for conversations and vault.ts for what an account keeps.
 */
export * from "./account-chain.ts";
export * from "./account-vault-signature.ts";
export * from "./archive.ts";
export type { AttachedFile } from "./attached-files.ts";
export * from "./attachments.ts";
export * from "./content.ts";
export * from "./credential.ts";
export * from "./device.ts";
export * from "./device-seal.ts";
export * from "./errors.ts";
export * from "./group.ts";
export * from "./group-picture.ts";
export * from "./group-reset.ts";
export * from "./identity.ts";
export * from "./key-packages.ts";
export * from "./process-message.ts";
export * from "./recovery-code.ts";
export * from "./safety-number.ts";
export * from "./secret.ts";
export * from "./vault.ts";
export * from "./whisper.ts";
export {
  activeDevices,
  chainDevice,
  type ChainState,
  decodeChainState,
  decodeCredential,
  decodeRoster,
  directRoster,
  encodeChainState,
  encodeCredential,
  encodeRoster,
  mayChangeRoster,
  type MessageProof,
  type Role,
  roleOf,
  type Roster,
  rosterHash,
  type RosterMark,
  type RosterMember,
  verifyChain,
} from "@sotto/protocol";
