/** Adds a chunk to the caller's archive of a conversation, or replaces the newest one. */
import { createHash } from "node:crypto";
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const putArchive: MethodFile<"putArchive"> =
  ({ store }) =>
  async ({ replaces, ...chunk }, { account }) => {
    if (chunk.from < 1 || chunk.to < chunk.from) throw new ProtocolError("malformed");
    const hash = new Uint8Array(createHash("sha256").update(chunk.bytes).digest());
    const outcome = await store.putArchiveChunk({ ...chunk, account, hash, replaces });
    if (outcome === "conflict") throw new ProtocolError("conflict");
    if (outcome === "full") throw new ProtocolError("quota-exceeded");
    return { settled: chunk.settled };
  };
