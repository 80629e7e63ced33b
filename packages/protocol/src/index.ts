export * from "./ids.ts";
export { CborError, decodeCbor, encodeCbor } from "./cbor.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./frame.ts";
export * from "./limits.ts";
export * from "./methods.ts";
export { namePattern, type SuiteNumber } from "./schema.ts";
export * from "./version.ts";
