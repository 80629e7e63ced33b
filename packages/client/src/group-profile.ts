/**
 * What a group is called and looks like: encrypted content, set by admins, the newest in the log's order winning on every device. Whoever comes
 * in is told it once more, by who lets them in, or where a device came in by itself on its request. A device that knows none takes
 * it from any member for the time being: that is better than no name, and an admin's word takes its place.
 */
import { decodeContent, encodeContent, isGroupName, pictureBytesMax, pictureTypeOf, roleOf } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import { rosterOf, turnOf } from "./members.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import type { ConversationRecord, GroupFacts, GroupProfile } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

type GroupRecord = ConversationRecord & GroupFacts;

/** How much longer each device waits than the one before it before it answers a request. */
const turnMs = 1_500;
const longestTurnMs = 30_000;

/** What somebody wants changed; `null` takes the picture away. */
export interface ProfileChange {
  name?: string;
  picture?: Uint8Array | null;
  shareHistory?: boolean;
}

export interface GroupProfilesOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  outbox: () => Outbox;
}

export class GroupProfiles {
  readonly #options: GroupProfilesOptions;
  /** Requests that this device answers if nobody is faster, by conversation. */
  readonly #answering = new Map<string, () => void>();

  constructor(options: GroupProfilesOptions) {
    this.#options = options;
  }

  /** Queues what is to change, or without it what holds once more; returns its place in the outbox. */
  send(transaction: Transaction, conversation: GroupRecord, changed?: ProfileChange): number {
    const { contacts, outbox, platform } = this.#options;
    const { name, picture, shareHistory, setAt = 0 } = conversation.profile ?? {};
    const {
      name: newName = name,
      picture: newPicture = picture,
      shareHistory: isShared = shareHistory,
    } = changed ?? {};
    const profile = {
      ...(newName === undefined ? {} : { name: newName }),
      ...(newPicture ? { picture: newPicture } : {}),
      ...(isShared ? { shareHistory: isShared } : {}),
      // What has no place in the log yet is not repeated, it is said.
      ...(changed || setAt === 0 ? {} : { setAt }),
    };
    return outbox().put(transaction, conversation, {
      kind: "profile",
      content: encodeContent({
        kind: "profile",
        ...profile,
        salt: platform.random.bytes(16),
        sentAtMs: platform.clock.now(),
        head: contacts.ownHead(),
      }),
    });
  }

  /** This device came in by itself and knows no profile. */
  request(transaction: Transaction, conversation: GroupRecord): void {
    const { contacts, outbox, platform } = this.#options;
    outbox().put(transaction, conversation, {
      kind: "profile-request",
      content: encodeContent({
        kind: "profile-request",
        salt: platform.random.bytes(16),
        sentAtMs: platform.clock.now(),
        head: contacts.ownHead(),
      }),
    });
  }

  /** Takes a profile in, at its place in the log. Changes `conversation`. */
  async take(
    transaction: Transaction,
    conversation: ConversationRecord,
    from: Uint8Array,
    at: { sequence: number; acceptedAt: number },
    said: { name?: string; picture?: Uint8Array; shareHistory?: true; setAt?: number },
  ): Promise<void> {
    if (conversation.kind !== "group") return;
    const id = toHex(conversation.conversation);
    this.#answering.get(id)?.();
    this.#answering.delete(id);
    const known = conversation.profile;
    const own = this.#options.state.account!.account;
    const isHearsay = roleOf(rosterOf(conversation, own), from) !== "admin";
    // Nobody sets anything at a later place than the one it stands at.
    const setAt = Math.min(said.setAt ?? at.sequence, at.sequence);
    // Told again, what is known already changes nothing; from a device that knows the name only, it would take the rest away.
    const isKnown = known !== undefined && said.setAt !== undefined && setAt === known.setAt && !known.isBrief;
    const isNewer = !known || known.setAt === 0 || (setAt >= known.setAt && !isKnown);
    // What the account vault left out any member may add: it is believed as long as no admin says otherwise.
    const isRest = known?.isBrief === true && setAt === known.setAt && said.name === known.name;
    const mayBeHearsay = !known || isRest || (known.isHearsay === true && isNewer);
    if (isHearsay ? !mayBeHearsay : known && !known.isHearsay && !isNewer) return;
    const profile: GroupProfile = {
      ...(said.name === undefined ? {} : { name: said.name }),
      ...(said.picture === undefined ? {} : { picture: said.picture.slice() }),
      ...(said.shareHistory ? { shareHistory: true } : {}),
      setAt,
      ...(isHearsay ? { isHearsay } : {}),
    };
    conversation.profile = profile;
    // Told to those who are new, it is no event for anybody.
    if (said.setAt !== undefined) return;
    const by = this.#options.contacts.wordFor(from);
    const before = known?.setAt ? known.name : undefined;
    if (profile.name !== undefined && profile.name !== before) {
      const text =
        before === undefined
          ? `${by} called the group “${profile.name}”`
          : `${by} renamed the group: “${before}” is “${profile.name}” now`;
      await this.#note(transaction, conversation, from, at, "renamed", text);
    }
    if (known?.isBrief) return;
    if (known?.shareHistory !== profile.shareHistory) {
      const what = profile.shareHistory ? "are shown what was said in the last days" : "see nothing of before";
      await this.#note(transaction, conversation, from, at, "share-history", `${by} set that new members ${what}`);
    }
    if (isSame(known?.picture, profile.picture)) return;
    const text = profile.picture ? `${by} changed the group's picture` : `${by} took the group's picture away`;
    await this.#note(transaction, conversation, from, at, "picture", text);
  }

  async #note(
    transaction: Transaction,
    conversation: ConversationRecord,
    from: Uint8Array,
    { sequence, acceptedAt }: { sequence: number; acceptedAt: number },
    event: "renamed" | "picture" | "share-history",
    text: string,
  ): Promise<void> {
    const { platform, timeline } = this.#options;
    const row = eventRow(platform, { from, acceptedAt, event, text });
    await timeline.note(transaction, conversation, sequence, row);
  }

  /** An own profile has its place. Changes `conversation`. */
  async onPlaced(
    transaction: Transaction,
    conversation: ConversationRecord,
    content: Uint8Array,
    at: { sequence: number; acceptedAt: number },
  ): Promise<void> {
    const said = decodeContent(content);
    if (said.kind !== "profile") return;
    await this.take(transaction, conversation, this.#options.state.account!.account, at, said);
  }

  /** Somebody's device knows no profile: one that does answers, and the others if it is away. */
  async onRequest(
    transaction: Transaction,
    conversation: ConversationRecord,
    device: Uint8Array,
    sequence: number,
  ): Promise<void> {
    if (conversation.kind !== "group" || !conversation.profile?.setAt || conversation.profile.isBrief) return;
    const { platform, state, outbox } = this.#options;
    const id = toHex(conversation.conversation);
    const group = await transaction.group(id);
    if (!group || this.#answering.has(id) || sameBytes(device, state.account!.device)) return;
    const others = group.leaves().filter((leaf) => !sameBytes(leaf.device, device));
    const delayMs = Math.min(turnOf(others, group.ownLeaf, sequence) * turnMs, longestTurnMs);
    transaction.applied.push(() => {
      const stop = platform.clock.after(delayMs + platform.random.bytes(1)[0]!, () => {
        this.#answering.delete(id);
        void state
          .transact((answer) => {
            const record = answer.conversation(id);
            if (record?.kind === "group" && !record.ended) this.send(answer, record);
          })
          .then(() => outbox().kick())
          .catch(() => {
            // Another member answers.
          });
      });
      this.#answering.set(id, stop);
    });
  }

  close(): void {
    for (const stop of this.#answering.values()) stop();
  }
}

/** @throws ClientError `group-name-invalid` */
export function requireGroupName(name: string): string {
  const trimmed = name.trim();
  if (!isGroupName(trimmed)) throw new ClientError("group-name-invalid", `"${name}" cannot be a group's name`);
  return trimmed;
}

/** @throws ClientError `picture-invalid` */
export function requirePicture(bytes: Uint8Array): Uint8Array {
  if (pictureTypeOf(bytes) === undefined)
    throw new ClientError("picture-invalid", "this is not a PNG, JPEG or WebP picture");
  if (bytes.length > pictureBytesMax)
    throw new ClientError("picture-invalid", `the picture has ${bytes.length} bytes; ${pictureBytesMax} is the most`);
  return bytes;
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : sameBytes(a, b);
}
