/**
 * Large structures on their way in: their parts wait here, in memory, for the request that names them (docs/protocol.md#large-structures).
 * They belong to one connection and go with it, or with the request that takes them. All memory is bounded, by connection and in
 * all; what nobody touched for a while makes room for others.
 */
import { limits, ProtocolError, type Structure, toHex } from "@sotto/protocol";
import { createHash } from "node:crypto";

interface Staged {
  readonly bytes: Uint8Array;
  /** How many of them are here. */
  length: number;
  touchedMs: number;
}

export interface StagedPart {
  readonly hash: Uint8Array;
  readonly size: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** @typeParam Owner the connection; one object for as long as it lives */
export interface Staging<Owner extends object> {
  /** Takes one part and says how many bytes are here. @throws ProtocolError `not-staged` out of order or with another hash, `busy` */
  stage(owner: Owner, part: StagedPart): number;
  /** The structure in one piece; what was staged is given away by it. @throws ProtocolError `not-staged` */
  take(owner: Owner, structure: Structure): Uint8Array;
  forget(owner: Owner): void;
  /** Bytes that wait, or that room is kept for. */
  bytes(): number;
}

type Limits = Readonly<Record<"stagedBytesPerConnectionMax" | "stagedBytesMax" | "stagedIdleMs", number>>;

export function createStaging<Owner extends object>({
  monotonicMs,
  limits: { stagedBytesPerConnectionMax, stagedBytesMax, stagedIdleMs } = limits,
}: {
  monotonicMs: () => number;
  limits?: Limits;
}): Staging<Owner> {
  /** The oldest first, in each connection. */
  const stagedByOwner = new Map<Owner, Map<string, Staged>>();
  let total = 0;

  function drop(owner: Owner, key: string): void {
    const own = stagedByOwner.get(owner);
    const staged = own?.get(key);
    if (own === undefined || staged === undefined) return;
    total -= staged.bytes.length;
    own.delete(key);
    if (own.size === 0) stagedByOwner.delete(owner);
  }

  /** Room for `size` bytes more: at the cost of the connection's own oldest, then of what others have left lying. */
  function makeRoom(owner: Owner, size: number): void {
    const own = stagedByOwner.get(owner) ?? new Map<string, Staged>();
    let ownBytes = own.values().reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (const [key, { bytes }] of own) {
      if (ownBytes + size <= stagedBytesPerConnectionMax) break;
      ownBytes -= bytes.length;
      drop(owner, key);
    }
    if (total + size <= stagedBytesMax) return;
    const idleSince = monotonicMs() - stagedIdleMs;
    for (const [other, staged] of stagedByOwner)
      for (const [key, { touchedMs }] of staged) if (touchedMs <= idleSince) drop(other, key);
    if (total + size > stagedBytesMax) throw new ProtocolError("busy");
  }

  return {
    stage(owner, { hash, size, offset, bytes }) {
      const key = toHex(hash);
      if (offset === 0) {
        drop(owner, key);
        makeRoom(owner, size);
        const own = stagedByOwner.get(owner) ?? new Map<string, Staged>();
        stagedByOwner.set(owner, own.set(key, { bytes: new Uint8Array(size), length: 0, touchedMs: 0 }));
        total += size;
      }
      const staged = stagedByOwner.get(owner)?.get(key);
      const fits =
        staged?.length === offset && size === staged.bytes.length && bytes.length > 0 && offset + bytes.length <= size;
      if (!fits) throw new ProtocolError("not-staged");
      staged.bytes.set(bytes, offset);
      staged.length += bytes.length;
      staged.touchedMs = monotonicMs();
      if (staged.length === size && createHash("sha256").update(staged.bytes).digest("hex") !== key) {
        drop(owner, key);
        throw new ProtocolError("not-staged");
      }
      return staged.length;
    },

    take(owner, structure) {
      if (structure instanceof Uint8Array) return structure;
      const key = toHex(structure.hash);
      const staged = stagedByOwner.get(owner)?.get(key);
      if (staged === undefined || staged.length !== structure.size || staged.bytes.length !== structure.size)
        throw new ProtocolError("not-staged");
      drop(owner, key);
      return staged.bytes;
    },

    forget(owner) {
      for (const key of stagedByOwner.get(owner)?.keys() ?? []) drop(owner, key);
    },

    bytes: () => total,
  };
}
