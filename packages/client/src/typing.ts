/**
 * Who is typing. Said in whispers, which nobody keeps and only those hear who are online; every three seconds at the most, and over
 * six seconds after the last one. Whoever does not say it does not see it.
 */
import { decodeDeviceKeys, openWhisper, sealWhisper } from "@sotto/e2ee";
import { type EventPayload, sameBytes, toHex } from "@sotto/protocol";
import type { ClientEvent } from "./api.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import type { Lookup } from "./lookup.ts";
import type { Platform } from "./platform.ts";
import type { AccountRecord, ConversationRecord } from "./records.ts";
import type { State } from "./state.ts";

/** A whisper says that somebody types for so long, and is not said again sooner than half of it. */
const lastsMs = 6_000;
const pauseMs = 3_000;

export interface TypingOptions {
  state: State;
  contacts: Contacts;
  lookup: Lookup;
  platform: Platform;
  connection: () => Connection;
  own: () => AccountRecord;
  /** Whether whoever writes there is left alone: nothing is sent that tells of this device. */
  isQuiet: (conversation: ConversationRecord) => boolean;
  emit: (event: ClientEvent) => void;
}

export class Typing {
  readonly #options: TypingOptions;
  /** When it was last said that one types here, by conversation. */
  readonly #saidAt = new Map<string, number>();
  /** When each device said what was heard of it last, by its own clock. */
  readonly #heardAt = new Map<string, number>();
  /** How the typing of somebody ends, by conversation and account. */
  readonly #ends = new Map<string, () => void>();
  readonly #stops = new Map<string, () => void>();

  constructor(options: TypingOptions) {
    this.#options = options;
  }

  /** Says that one types, or has stopped; nothing while that is off, said already, or nobody can hear it. */
  async set(options: { with: string; active?: boolean }): Promise<void> {
    const { state, platform, lookup, connection, own } = this.#options;
    own();
    if (!state.settings.typing || !connection().connected) return;
    const conversation = await lookup.conversation(options.with);
    const id = toHex(conversation.conversation);
    const active = options.active ?? true;
    const now = platform.clock.now();
    const saidAt = this.#saidAt.get(id) ?? -Infinity;
    if (active ? now < saidAt + pauseMs : now >= saidAt + lastsMs) return;
    if (active) this.#saidAt.set(id, now);
    else this.#saidAt.delete(id);
    await this.#say(conversation, id, active).catch(() => {
      // It is worth nothing later.
    });
  }

  async #say(conversation: ConversationRecord, id: string, active: boolean): Promise<void> {
    const { state, platform, connection, contacts, own } = this.#options;
    if (conversation.phase !== "open" || conversation.brokenAt !== undefined) return;
    if (this.#options.isQuiet(conversation)) return;
    contacts.requireTrustedIn(conversation);
    const group = await state.transact((transaction) => transaction.group(id));
    if (group?.standing !== "active") return;
    const bytes = await sealWhisper({
      group,
      conversation: conversation.conversation,
      device: decodeDeviceKeys(own().deviceKeys),
      random: platform.random,
      whisper: { kind: "typing", active, sentAtMs: platform.clock.now() },
    });
    await connection().request("whisper", { conversation: conversation.conversation, bytes });
  }

  async onWhisper({ conversation, bytes }: EventPayload<"whisper">): Promise<void> {
    const { state, contacts, own } = this.#options;
    const id = toHex(conversation);
    if (!state.settings.typing || !state.conversations.has(id)) return;
    const group = await state.transact((transaction) => transaction.group(id));
    if (group?.standing !== "active") return;
    const heard = await openWhisper({ group, conversation, bytes });
    if (!heard || sameBytes(heard.account, own().account)) return;
    const device = toHex(heard.device);
    // The same again is the server's doing.
    if (heard.sentAtMs <= (this.#heardAt.get(device) ?? -1)) return;
    this.#heardAt.set(device, heard.sentAtMs);
    const user = contacts.nameOf(heard.account);
    if (heard.active) this.#begins(id, user);
    else this.#ends.get(keyOf(id, user))?.();
  }

  /** What somebody typed is here. */
  onMessage(conversation: string, user: string): void {
    this.#ends.get(keyOf(conversation, user))?.();
  }

  close(): void {
    for (const stop of this.#stops.values()) stop();
  }

  #begins(conversation: string, user: string): void {
    const { platform, emit } = this.#options;
    const key = keyOf(conversation, user);
    const isNew = !this.#ends.has(key);
    this.#stops.get(key)?.();
    const end = () => {
      this.#stops.get(key)?.();
      this.#stops.delete(key);
      if (this.#ends.delete(key)) emit({ type: "typing", conversation, user, active: false });
    };
    this.#ends.set(key, end);
    this.#stops.set(key, platform.clock.after(lastsMs, end));
    if (isNew) emit({ type: "typing", conversation, user, active: true });
  }
}

const keyOf = (conversation: string, user: string): string => `${conversation} ${user}`;
