/** Public structures that are too large for a frame go by name, and in parts (docs/protocol.md#large-structures). */
import { sha256 } from "@noble/hashes/sha2.js";
import type { StructureRef } from "./schema.ts";

/** By what the bytes are known. */
export function nameStructure(bytes: Uint8Array): StructureRef {
  return { hash: sha256(bytes), size: bytes.length };
}
