/**
 * Invites: tokens that let somebody create an account, as many times as they say, until they expire. The store spends a
 * use in the transaction that creates the account.
 */
import { formatInviteLink, inviteTokenBytes, type Random } from "@sotto/protocol";
import type { Store } from "../store/store.ts";

const dayMs = 24 * 60 * 60 * 1000;
const firstInviteSetting = "first-invite";
const reachSetting = "reach";

export const inviteDefaults = { uses: 1, expiresDays: 7 } as const;
export const inviteMaxima = { uses: 10_000, expiresDays: 365 } as const;

export interface InviteTerms {
  readonly uses?: number;
  readonly expiresDays?: number;
  /** The name of the account that the link introduces to the newcomer. */
  readonly from?: string;
}

/** Where people reach the server: what a link says besides its token. */
export interface Reach {
  readonly host: string;
  readonly port: number;
  readonly fingerprint: Uint8Array;
}

interface InviteSource {
  readonly store: Store;
  readonly random: Random;
  readonly now: () => number;
}

/** Makes an invite and returns its link; undefined if nobody has the name that it should introduce. */
export async function makeInvite(
  { store, random, now }: InviteSource,
  reach: Reach,
  terms: InviteTerms = {},
): Promise<string | undefined> {
  const token = random.bytes(inviteTokenBytes);
  const { uses = inviteDefaults.uses, expiresDays = inviteDefaults.expiresDays, from } = terms;
  if (from !== undefined && (await store.getAccountByName(from)) === undefined) return undefined;
  await store.createInvite({ token, usesLeft: uses, createdAt: now(), expiresAt: now() + expiresDays * dayMs });
  return formatInviteLink({ ...reach, token, ...(from === undefined ? {} : { introducer: from }) });
}

/** The link on the first screen: the one of the last start while it can still be used, else a new one. */
export async function firstInvite(source: InviteSource, reach: Reach): Promise<string> {
  const { store, random, now } = source;
  const known = await store.getSetting(firstInviteSetting);
  const invite = known && (await store.getInvite(known));
  if (invite !== undefined && invite.usesLeft > 0 && invite.expiresAt > now() + dayMs)
    return formatInviteLink({ ...reach, token: invite.token });
  const token = random.bytes(inviteTokenBytes);
  await store.createInvite({
    token,
    usesLeft: inviteDefaults.uses,
    createdAt: now(),
    expiresAt: now() + inviteDefaults.expiresDays * dayMs,
  });
  await store.putSetting(firstInviteSetting, token);
  return formatInviteLink({ ...reach, token });
}

/** Remembers where the server was last reachable, for invites made while it does not run. */
export async function rememberReach(store: Store, reach: Reach): Promise<void> {
  const { host, port, fingerprint } = reach;
  const text = JSON.stringify({ host, port, fingerprint: Buffer.from(fingerprint).toString("hex") });
  await store.putSetting(reachSetting, Buffer.from(text));
}

export async function recallReach(store: Store): Promise<Reach | undefined> {
  const text = await store.getSetting(reachSetting);
  if (text === undefined) return undefined;
  const { host, port, fingerprint } = JSON.parse(Buffer.from(text).toString()) as {
    host: string;
    port: number;
    fingerprint: string;
  };
  return { host, port, fingerprint: new Uint8Array(Buffer.from(fingerprint, "hex")) };
}
