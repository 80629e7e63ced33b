export * from "./ids.ts";
export { CborError, decodeCbor, encodeCbor } from "./cbor.ts";
