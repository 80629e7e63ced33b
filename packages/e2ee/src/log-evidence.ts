/**
 * What the log of a conversation has proved about time. A commit by a device that was revoked later is right if it was made
 * before; but when it was accepted only the server says, and a server that works with a stolen device would say anything. So its
 * word is bounded by what members' own entries prove: time does not go back within a log, an entry that could only be made with
 * an account chain of length n comes after that chain's entries, and a device that was taken out does not come back as what it
 * was. All of it only ever grows, and it can only refuse: a device that is refused honest history joins again by itself.
 */
import {
  type AccountId,
  chainDevice,
  type ChainState,
  type DeviceId,
  fromHex,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import type { Directory } from "./credential.ts";

export interface LogEvidence {
  /** Entries from here on were accepted at this time or later: the highest the server said, or an own clock's reading. */
  readonly acceptedAtMs: number;
  /** By account in hexadecimal: the number of the newest chain entry that must have existed. */
  readonly chainNs: ReadonlyMap<string, number>;
  /** Devices that a commit took out, oldest first. */
  readonly removed: readonly DeviceId[];
}

interface Holder {
  readonly account: AccountId;
  readonly device: DeviceId;
}

/** Of a log that no entry was read of. */
export const noEvidence: LogEvidence = { acceptedAtMs: 0, chainNs: new Map(), removed: [] };

// 16 KiB in the epoch record. Who has a thousand others taken out to be forgotten still keeps everybody from sending
// (`revoked-leaf`) until it is out again.
const removedMax = 1024;

/**
 * Whether the next entry may be a commit by or for this revoked device: all that is known says that it was not revoked yet.
 * @param acceptedAtMs of the entry, as the server says; without it there is nothing to say so
 */
export function mayPrecedeRevocation(
  evidence: LogEvidence,
  chain: ChainState,
  device: DeviceId,
  acceptedAtMs: number | undefined,
): boolean {
  const { revokedN, revokedAtMs } = chainDevice(chain, device) ?? {};
  if (revokedN === undefined || revokedAtMs === undefined || acceptedAtMs === undefined) return false;
  if (Math.max(acceptedAtMs, evidence.acceptedAtMs) >= revokedAtMs) return false;
  if ((evidence.chainNs.get(toHex(chain.account)) ?? 0) >= revokedN) return false;
  return !evidence.removed.some((gone) => sameBytes(gone, device));
}

export function afterTime(evidence: LogEvidence, acceptedAtMs: number | undefined): LogEvidence {
  return acceptedAtMs === undefined || acceptedAtMs <= evidence.acceptedAtMs ? evidence : { ...evidence, acceptedAtMs };
}

/** @param n the chain entry that its sender had seen, if the message says so */
export function afterMessage(
  evidence: LogEvidence,
  sender: Holder,
  n: number | undefined,
  directory: Directory,
): LogEvidence {
  return withChain(withDevice(evidence, sender, directory), sender.account, n);
}

export function afterCommit(
  evidence: LogEvidence,
  commit: { readonly committer: Holder; readonly added: readonly Holder[]; readonly removed: readonly Holder[] },
  directory: Directory,
): LogEvidence {
  let next = evidence;
  const present = [commit.committer, ...commit.added];
  for (const holder of present) next = withDevice(next, holder, directory);
  // A device that takes the place of its own old leaf has not gone.
  const gone = commit.removed.filter(({ device }) => !present.some((holder) => sameBytes(holder.device, device)));
  for (const { account, device } of gone) {
    const chain = directory.chain(account);
    next = withChain(next, account, chain && chainDevice(chain, device)?.revokedN);
  }
  if (gone.length === 0) return next;
  return { ...next, removed: [...next.removed, ...gone.map(({ device }) => device)].slice(-removedMax) };
}

/** Whoever speaks was in its chain by then. */
function withDevice(evidence: LogEvidence, { account, device }: Holder, directory: Directory): LogEvidence {
  const chain = directory.chain(account);
  return withChain(evidence, account, chain && chainDevice(chain, device)?.addedN);
}

function withChain(evidence: LogEvidence, account: AccountId, n: number | undefined): LogEvidence {
  const name = toHex(account);
  if (n === undefined || n <= (evidence.chainNs.get(name) ?? 0)) return evidence;
  return { ...evidence, chainNs: new Map(evidence.chainNs).set(name, n) };
}

/** `[accepted at, [[account, n]…]]`: what changes with messages. */
export type StoredTimes = [number, [Uint8Array, number][]];

export function storeTimes({ acceptedAtMs, chainNs }: LogEvidence): StoredTimes {
  return [acceptedAtMs, [...chainNs].map(([account, n]) => [fromHex(account)!, n])];
}

export function loadEvidence([acceptedAtMs, chainNs]: StoredTimes, removed: DeviceId[]): LogEvidence {
  return { acceptedAtMs, chainNs: new Map(chainNs.map(([account, n]) => [toHex(account), n])), removed };
}
