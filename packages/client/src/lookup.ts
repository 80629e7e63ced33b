/**
 * What people and programs write to name something: `@name`, a group's name, an id, or a unique prefix of one. Only a name that was never met is
 * asked of the server.
 */
import { toHex } from "@sotto/protocol";
import type { Message } from "./api.ts";
import { type Contacts, plainName } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import { groupRefusal } from "./group-change.ts";
import type { ConversationRecord, MessageRow } from "./records.ts";
import type { State } from "./state.ts";
import type { Timeline } from "./timeline.ts";

const idPrefixDigitsMin = 4;

export class Lookup {
  readonly #state: State;
  readonly #contacts: Contacts;
  readonly #timeline: Timeline;
  readonly #connected: (attempted: string) => Promise<void>;

  /** @param options.connected resolves when there is a session; rejects, saying what was attempted, when there is none */
  constructor(options: {
    state: State;
    contacts: Contacts;
    timeline: Timeline;
    connected: (attempted: string) => Promise<void>;
  }) {
    this.#state = options.state;
    this.#contacts = options.contacts;
    this.#timeline = options.timeline;
    this.#connected = options.connected;
  }

  /** The account of `@name`. Asks the server only for names that were never met. @throws ClientError */
  async account(of: string): Promise<Uint8Array> {
    const name = plainName(of);
    if (!this.#state.accountByName.has(name)) await this.#connected(`find @${name}`);
    return (await this.#contacts.find(name)).account;
  }

  /** Where to write: somebody's account, with whom there may be no conversation yet, or a conversation. @throws ClientError */
  async target(to: string): Promise<{ peer: Uint8Array } | { conversation: ConversationRecord }> {
    if (to.trim().startsWith("@")) return { peer: await this.account(to) };
    const conversation = await this.conversation(to);
    if (conversation.kind === "group" && conversation.ended) throw groupRefusal("not-a-member");
    return { conversation };
  }

  /** A conversation by `@name`, a group's name, an id or a unique prefix of it. @throws ClientError */
  async conversation(which: string): Promise<ConversationRecord> {
    const wanted = which.trim();
    if (wanted.startsWith("@")) {
      const name = plainName(wanted);
      const account = this.#state.accountByName.get(name);
      const found =
        account &&
        [...this.#state.conversations.values()].find(
          (conversation) => conversation.kind === "direct" && toHex(conversation.peer) === account,
        );
      if (!found) throw new ClientError("no-conversation", `there is no conversation with @${name}`);
      return found;
    }
    const prefix = wanted.toLowerCase();
    const named = [...this.#state.conversations].filter(
      ([, conversation]) => conversation.kind === "group" && conversation.profile?.name?.toLowerCase() === prefix,
    );
    if (named.length > 1) {
      throw new ClientError(
        "ambiguous",
        `several groups are called "${wanted}": ${named.map(([id]) => id).join(", ")}`,
        {
          hint: "name one by its id",
        },
      );
    }
    if (named[0]) return named[0][1];
    const found = [...this.#state.conversations].filter(([id]) => id.startsWith(prefix));
    if (prefix.length < idPrefixDigitsMin || found.length === 0) {
      throw new ClientError("no-conversation", `there is no conversation "${wanted}"`, {
        hint: `people are written with an @: @${wanted}`,
      });
    }
    if (found.length > 1)
      throw new ClientError("ambiguous", `"${wanted}" begins several ids: ${found.map(([id]) => id).join(", ")}`);
    return found[0]![1];
  }

  /** A message by its id or a unique prefix of it. @throws ClientError */
  async message(which: string, within?: string): Promise<{ message: Message; row: MessageRow; place: string }> {
    const prefix = which.trim().toLowerCase();
    const candidates = /^[0-9a-f]{4,32}$/.test(prefix) ? await this.#state.findContent(prefix, 20) : [];
    const found: { id: string; conversation: ConversationRecord; place: string; row: MessageRow }[] = [];
    for (const { id, conversation: at, place } of candidates) {
      const conversation = this.#state.conversations.get(at);
      const row = within === undefined || at === within ? await this.#state.row(at, place) : undefined;
      // What was done to a message has an id too, which nobody means.
      if (conversation && row?.kind === "message") found.push({ id, conversation, place, row });
    }
    if (found.length > 1)
      throw new ClientError("ambiguous", `"${which}" begins several ids: ${found.map(({ id }) => id).join(", ")}`);
    const one = found[0];
    if (!one) throw new ClientError("no-message", `there is no message "${which}"`);
    const { conversation, place, row } = one;
    return { message: await this.#timeline.shown(this.#state, conversation, place, row), row, place };
  }
}
