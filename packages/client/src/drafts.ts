/**
 * What a person was writing when they left a conversation: on this device at once, on the account's others soon after. The newest
 * wins, whatever device it was written on.
 */
import { directConversationId, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { ClientEvent } from "./api.ts";
import { ClientError } from "./errors.ts";
import type { Lookup } from "./lookup.ts";
import type { AccountRecord } from "./records.ts";
import type { State } from "./state.ts";

/** All devices carry all drafts. */
const draftBytesMax = 4 * 1024;
const entryKind = "draft/";

export interface DraftsOptions {
  state: State;
  vault: AccountVault;
  lookup: Lookup;
  own: () => AccountRecord;
}

export class Drafts {
  readonly #options: DraftsOptions;

  constructor(options: DraftsOptions) {
    this.#options = options;
    options.vault.onEntry(entryKind, (transaction, conversation, value) =>
      transaction.emit(draftEvent(conversation, textOf(value))),
    );
  }

  /** An empty text deletes it. @throws ClientError `draft-too-large`, `account-data-full` */
  async set(options: { with: string; text: string }): Promise<void> {
    const { state, vault } = this.#options;
    const { text } = options;
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > draftBytesMax)
      throw new ClientError("draft-too-large", `keep a draft: it has ${bytes} bytes, more than ${draftBytesMax}`);
    const conversation = await this.#idOf(options.with);
    if (text === this.of(conversation)) return;
    await state.transact((transaction) => {
      vault.putEntry(transaction, entryKind + conversation, text === "" ? null : text);
      transaction.emit(draftEvent(conversation, text));
    });
  }

  async get(options: { with: string }): Promise<{ text: string }> {
    return { text: this.of(await this.#idOf(options.with)) };
  }

  /** Empty where there is none. */
  of(conversation: string): string {
    return textOf(this.#options.vault.entry(entryKind + conversation));
  }

  /** Also of a direct conversation that nobody has begun. */
  async #idOf(withWhom: string): Promise<string> {
    const { lookup, own } = this.#options;
    const { account } = own();
    const target = await lookup.target(withWhom);
    return toHex("peer" in target ? directConversationId(account, target.peer) : target.conversation.conversation);
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function draftEvent(conversation: string, text: string): ClientEvent {
  return { type: "draft", conversation, text };
}
