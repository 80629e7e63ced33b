export * from "./ids.ts";
export { CborError, decodeCbor, encodeCbor, isBytes, isCount, isRecord } from "./cbor.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./frame.ts";
export * from "./limits.ts";
export * from "./methods.ts";
export {
  firstFaultOnly,
  namePattern,
  type Structure,
  type StructureRef,
  type SuiteNumber,
  type Whole,
} from "./schema.ts";
export * from "./version.ts";
export * from "./account-chain.ts";
export * from "./conversation-id.ts";
export * from "./credential.ts";
export * from "./message-proof.ts";
export * from "./roster.ts";
export * from "./signed.ts";
export * from "./fingerprint.ts";
export * from "./invite-link.ts";
export * from "./private-message.ts";
export * from "./hot-frames.ts";
export * from "./structures.ts";
