/** The operating system's randomness, as the packages without I/O take it. */
import { randomFillSync } from "node:crypto";
import type { Random } from "@sotto/protocol";

export const systemRandom: Random = { bytes: (count) => randomFillSync(new Uint8Array(count)) };
