/**
 * Who is who: accounts by name and id, each with its verified chain, pinned at first sight. The e2ee package asks here for the
 * chain of every leaf; what is missing is fetched beforehand, in one request. A chain that contradicts what was known, or what
 * its account says of it, is a security stop: it is kept with the contact, and nothing is sent there until it is resolved.
 */
import { type ChainState, type Directory, decodeChainState, encodeChainState, verifyChain } from "@sotto/e2ee";
import { chainEntryHash, decodeChainEntry, limits, namePattern, sameBytes, toHex } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import type { Session } from "./connection/session.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Clock } from "./platform.ts";
import { othersIn } from "./members.ts";
import type { ContactRecord, ConversationRecord, SecurityStop } from "./records.ts";
import type { State, Transaction } from "./state.ts";

/** Of a group without a name. */
const namesInTitleMax = 3;

type Requests = Pick<Connection, "request">;

export interface ContactsOptions {
  state: State;
  clock: Clock;
  requests: () => Requests;
  /** Somebody has another identity key, in the transaction that takes it in. */
  onIdentityChanged?: (transaction: Transaction, account: Uint8Array, text: string) => Promise<void>;
}

export class Contacts implements Directory {
  readonly #state: State;
  readonly #clock: Clock;
  readonly #requests: () => Requests;
  readonly #onIdentityChanged: NonNullable<ContactsOptions["onIdentityChanged"]>;
  readonly #chains = new Map<string, { encoded: Uint8Array; chain: ChainState }>();

  constructor(options: ContactsOptions) {
    this.#state = options.state;
    this.#clock = options.clock;
    this.#requests = options.requests;
    this.#onIdentityChanged = options.onIdentityChanged ?? (async () => {});
  }

  /** The verified chain of an account, as far as it is known here (see `fetch`). */
  chain(account: Uint8Array): ChainState | undefined {
    const id = toHex(account);
    const own = this.#state.account;
    const encoded = own && sameBytes(own.account, account) ? own.chain : this.#state.contacts.get(id)?.chain;
    if (!encoded) return undefined;
    const cached = this.#chains.get(id);
    if (cached?.encoded === encoded) return cached.chain;
    const chain = decodeChainState(encoded);
    this.#chains.set(id, { encoded, chain });
    return chain;
  }

  /**
   * The directory for those whose chains were fetched just now: a device that they do not name does not exist, where it would
   * otherwise be a reason to fetch them.
   */
  after(fetched: readonly Uint8Array[]): Directory {
    if (fetched.length === 0) return this;
    return {
      chain: (account) => this.chain(account),
      current: (account) => fetched.some((one) => sameBytes(one, account)),
    };
  }

  /** Whether a chain goes on from what was remembered of it elsewhere. @throws ClientError `chain-rolled-back` */
  requireFollows(chain: ChainState, remembered: { n: number; hash: Uint8Array }): void {
    if (chain.n > remembered.n || (chain.n === remembered.n && sameBytes(chain.head, remembered.hash))) return;
    throw new ClientError(
      "chain-rolled-back",
      `the server's record of @${chain.name} is older than what this account has seen of it`,
    );
  }

  /** How far the own chain has come: every message says so. */
  ownHead(): { n: number; hash: Uint8Array } {
    const chain = this.chain(this.#state.account!.account)!;
    return { n: chain.n, hash: chain.head };
  }

  /** As lines of the history have it, which one reads oneself: "you", or "@name". */
  wordFor(account: Uint8Array): string {
    const own = this.#state.account;
    return own && sameBytes(own.account, account) ? "you" : this.nameOf(account);
  }

  /** "@name" of an account; its id while the name is not known. */
  nameOf(account: Uint8Array): string {
    const own = this.#state.account;
    if (own && sameBytes(own.account, account)) return `@${own.name}`;
    const contact = this.#state.contacts.get(toHex(account));
    return contact ? `@${contact.name}` : toHex(account).slice(0, 8);
  }

  /** What a conversation is called: by the other's name, the group's, or while that is not known by those who are in it. */
  titleOf(conversation: ConversationRecord): string {
    if (conversation.kind === "direct") return this.nameOf(conversation.peer);
    const { name } = conversation.profile ?? {};
    if (name !== undefined) return name;
    const names = this.#othersIn(conversation).map((account) => this.nameOf(account));
    if (names.length === 0) return "a group of one";
    const rest = names.length - namesInTitleMax;
    return rest > 0 ? `${names.slice(0, namesInTitleMax).join(", ")} and ${rest} more` : names.join(", ");
  }

  /** A conversation in the middle of a sentence. */
  phraseOf(conversation: ConversationRecord): string {
    return `${conversation.kind === "direct" ? "the conversation with" : "the group"} ${this.titleOf(conversation)}`;
  }

  /** Whom news of a conversation are about, where that is one person. */
  userIn(conversation: ConversationRecord): { user?: string } {
    return conversation.kind === "direct" ? { user: this.nameOf(conversation.peer) } : {};
  }

  /** The account of a name, asked for at the server if it was never met. @throws ClientError */
  async find(name: string): Promise<ContactRecord> {
    const plain = plainName(name);
    const known = this.#state.accountByName.get(plain);
    if (known) return this.#state.contacts.get(known)!;
    if (plain === this.#state.account?.name)
      throw new ClientError("invalid-argument", "that is you", { hint: "name somebody else" });
    let found;
    try {
      found = await this.#requests().request("lookupAccount", { name: plain });
    } catch (error) {
      const refused = refusedBy(`find @${plain}`, error);
      throw refused.code === "not-found"
        ? new ClientError("no-user", `there is no user @${plain} on this server`)
        : refused;
    }
    const contact = await this.#take(found.account, found.chain, plain);
    if (!found.more) return contact;
    await this.fetch([found.account]);
    return this.#state.contacts.get(toHex(found.account)) ?? contact;
  }

  /**
   * Fetches what the server has of these accounts' chains beyond what is known.
   * @param request on which connection, if not the one that is kept
   * @throws ClientError; one of kind `security` if an answer is not believed, after the others were taken
   */
  async fetch(accounts: readonly Uint8Array[], request?: Session["request"]): Promise<void> {
    let disbelieved: ClientError | undefined;
    for (let at = 0; at < accounts.length; at += limits.chainsPerRequestMax) {
      const slice = accounts.slice(at, at + limits.chainsPerRequestMax);
      let reply;
      try {
        const wanted = slice.map((account) => ({ account, from: entriesOf(this.chain(account)) }));
        reply = await (request
          ? request("getChains", { accounts: wanted })
          : this.#requests().request("getChains", { accounts: wanted }));
      } catch (error) {
        throw refusedBy("fetch account chains", error);
      }
      const unfinished: Uint8Array[] = [];
      // A reply without any entry brings nobody further, whatever it says of more.
      const goesOn = reply.chains.some(({ entries }) => entries.length > 0);
      for (const { account, entries, more } of reply.chains) {
        if (!slice.some((asked) => sameBytes(asked, account))) continue;
        // Of those that no longer fit this reply, the next one brings the entries.
        if (more && goesOn) unfinished.push(account);
        // An account that does not exist has no entries.
        if (entries.length === 0 && !this.chain(account)) continue;
        try {
          await this.#take(account, entries, undefined);
        } catch (error) {
          if (!(error instanceof ClientError) || error.kind !== "security") throw error;
          disbelieved ??= error;
          const at = unfinished.indexOf(account);
          if (at >= 0) unfinished.splice(at, 1);
        }
      }
      if (unfinished.length > 0) await this.fetch(unfinished, request);
    }
    if (disbelieved) throw disbelieved;
  }

  /**
   * Every message says how far its sender's chain had come. `ahead`: the chain must be fetched before this can be judged. What
   * contradicts the known chain stops all sending to that account, in the same transaction.
   * @param fetched whether the chain was fetched just now, so that the server has had its say
   * @param isOfEarlier whether it was written to be sent later (`isScheduled`)
   */
  checkHead(
    transaction: Transaction,
    conversation: ConversationRecord,
    sender: { account: Uint8Array; device: Uint8Array },
    head: { n: number; hash: Uint8Array },
    fetched: boolean,
    isOfEarlier = false,
  ): "agrees" | "ahead" | "stopped" {
    const known = this.chain(sender.account);
    if (!known) return "agrees";
    const device = toHex(sender.device);
    const user = this.nameOf(sender.account);
    const shownBefore = conversation.headsShown?.[device] ?? 0;
    if (head.n > known.n) {
      if (!fetched) return "ahead";
      this.#stop(transaction, sender.account, `the server hides changes of ${user} that ${user} speaks of`, head);
      return "stopped";
    }
    const hash = head.n === known.n ? known.head : this.#state.contacts.get(toHex(sender.account))?.heads?.[head.n];
    if (hash && hash.length > 0 && !sameBytes(hash, head.hash)) {
      this.#stop(transaction, sender.account, `the server's record of ${user} and what ${user} says of it differ`);
      return "stopped";
    }
    // What was written to be sent later says how far the chain was then, and nothing of now.
    if (isOfEarlier && head.n < shownBefore) return "agrees";
    if (head.n < shownBefore) {
      this.#stop(
        transaction,
        sender.account,
        `a device of ${user} has been shown an older record of ${user} than before`,
      );
      return "stopped";
    }
    conversation.headsShown = { ...conversation.headsShown, [device]: head.n };
    return "agrees";
  }

  /** Why nothing is sent to an account, if so. */
  stopOf(account: Uint8Array): SecurityStop | undefined {
    return this.#state.contacts.get(toHex(account))?.stop;
  }

  /** @throws ClientError of kind `security` while sending to this account is stopped */
  requireTrusted(account: Uint8Array): void {
    const stop = this.stopOf(account);
    if (stop) throw new ClientError(stop.code, `${stop.text}; nothing is sent to ${this.nameOf(account)}`);
  }

  /** Why nothing is sent into a conversation, if so. */
  stopIn(conversation: ConversationRecord): SecurityStop | undefined {
    return this.#othersIn(conversation)
      .map((account) => this.stopOf(account))
      .find((stop) => stop !== undefined);
  }

  /** @throws ClientError of kind `security` while sending to somebody in it is stopped */
  requireTrustedIn(conversation: ConversationRecord): void {
    for (const account of this.#othersIn(conversation)) this.requireTrusted(account);
  }

  #othersIn(conversation: ConversationRecord): Uint8Array[] {
    const own = this.#state.account;
    return own ? othersIn(conversation, own.account) : [];
  }

  /** Accounts whose stop the server can end, by showing what it hid. */
  stoppedByHiding(): Uint8Array[] {
    return [...this.#state.contacts.values()].filter(({ stop }) => stop?.claimed).map(({ account }) => account);
  }

  #stop(transaction: Transaction, account: Uint8Array, text: string, claimed?: { n: number; hash: Uint8Array }): void {
    transaction.emit({ type: "security", code: "chain-rolled-back", user: this.nameOf(account), text });
    const contact = transaction.contact(toHex(account));
    // There is no stop for the own account: one does not write to oneself.
    if (!contact || contact.stop) return;
    const stop = this.#stopBecause("chain-rolled-back", text);
    if (claimed) stop.claimed = { n: claimed.n, hash: claimed.hash.slice() };
    transaction.putContact({ ...contact, stop });
  }

  #stopBecause(code: SecurityStop["code"], text: string): SecurityStop {
    return { code, text, at: this.#clock.now() };
  }

  /** Remembers that a person compared safety numbers; that ends a stop. */
  async confirm(account: string): Promise<void> {
    await this.#state.transact((transaction) => {
      const contact = transaction.contact(account);
      const chain = contact && this.chain(contact.account);
      if (!contact || !chain) return;
      const { stop: _, ...rest } = contact;
      transaction.putContact({ ...rest, verifiedIdentity: chain.identityKey, verifiedAt: this.#clock.now() });
    });
  }

  /**
   * Takes a changed identity without comparing: messages go there again, and the person counts as not verified.
   * @throws ClientError `invalid-argument` if there is no change to accept; a server that hides something is no such change
   */
  async acceptIdentity(account: string): Promise<void> {
    await this.#state.transact((transaction) => {
      const contact = transaction.contact(account);
      if (contact?.stop?.code !== "identity-changed") {
        throw new ClientError(
          "invalid-argument",
          `accept a new identity of ${contact ? `@${contact.name}` : account}: there is none to accept`,
          {
            hint: contact?.stop
              ? "this stop is the server's doing: `sotto verify NAME --confirm` ends it"
              : "nothing is stopped",
          },
        );
      }
      const { stop: _, verifiedIdentity: __, ...rest } = contact;
      transaction.putContact({ ...rest, verifiedAt: this.#clock.now() });
    });
  }

  /** What another device of the account found when safety numbers were compared, or accepted without. */
  takeVerification(
    transaction: Transaction,
    account: string,
    theirs: { verified?: Uint8Array; verifiedAt?: number },
  ): void {
    const contact = transaction.contact(account);
    if (!contact || (contact.verifiedAt ?? 0) >= (theirs.verifiedAt ?? 0)) return;
    const { stop, verifiedIdentity: _, ...rest } = contact;
    const keys = this.chain(contact.account)?.identityKeys.map(({ key }) => key) ?? [];
    const isFormer = keys.slice(0, -1).some((key) => theirs.verified && sameBytes(theirs.verified, key));
    const text = identityChangedText(contact.name);
    const isSettled = stop?.code === "identity-changed" && !isFormer && theirs.verifiedAt! > stop.at;
    // What was compared before the identity changed ends no stop: it is the reason for one, also on a device that came later.
    const standing = isSettled ? undefined : (stop ?? (isFormer && this.#stopBecause("identity-changed", text)));
    transaction.putContact({
      ...rest,
      ...(standing ? { stop: standing } : {}),
      ...(theirs.verified ? { verifiedIdentity: theirs.verified } : {}),
      verifiedAt: theirs.verifiedAt!,
    });
  }

  isVerified(contact: ContactRecord): boolean {
    const chain = this.chain(contact.account);
    return (
      contact.verifiedIdentity !== undefined &&
      chain !== undefined &&
      sameBytes(contact.verifiedIdentity, chain.identityKey)
    );
  }

  #take(account: Uint8Array, entries: readonly Uint8Array[], name: string | undefined): Promise<ContactRecord> {
    return this.#state.transact((transaction) => this.#verify(transaction, account, entries, name));
  }

  async #verify(
    transaction: Transaction,
    account: Uint8Array,
    entries: readonly Uint8Array[],
    name: string | undefined,
  ): Promise<ContactRecord> {
    const id = toHex(account);
    const known = transaction.contact(id);
    const own = this.#state.account;
    const ownChain = own && sameBytes(own.account, account);
    const before = this.chain(account);
    if (entries.length === 0 && known) return known;
    const verified = verifyChain([...entries], before);
    const label = name ?? known?.name ?? id.slice(0, 8);
    if (verified.kind !== "valid") {
      throw new ClientError(
        "chain-rolled-back",
        `the server's record of @${label} does not follow from what was known; nothing was sent`,
      );
    }
    const { chain } = verified;
    if (!sameBytes(chain.account, account) || (name !== undefined && chain.name !== name)) {
      throw new ClientError(
        "chain-rolled-back",
        `the server answered with another account for @${label}; nothing was sent`,
      );
    }
    const other = this.#state.accountByName.get(chain.name);
    if (other !== undefined && other !== id) {
      throw new ClientError(
        "identity-changed",
        `the server shows another account under the name @${chain.name} than before; nothing was sent`,
      );
    }
    if (ownChain) {
      transaction.putAccount({ ...own, chain: encodeChainState(chain) });
      return { account, name: own.name, chain: encodeChainState(chain), firstSeenAt: this.#clock.now() };
    }
    const heads = Array.from({ length: chain.n + 1 }, (_, n) => known?.heads?.[n] ?? new Uint8Array());
    for (const entry of entries) heads[decodeChainEntry(entry)!.n] = chainEntryHash(entry);
    const { stop, ...rest } = known ?? {};
    const contact: ContactRecord = {
      ...rest,
      account: account.slice(),
      name: chain.name,
      chain: encodeChainState(chain),
      heads,
      firstSeenAt: known?.firstSeenAt ?? this.#clock.now(),
    };
    const stillStopped = stop && this.#afterNews(transaction, stop, contact);
    const isOther = before !== undefined && !sameBytes(before.identityKey, chain.identityKey);
    const standing = stillStopped ?? (isOther ? this.#identityChanged(transaction, contact) : undefined);
    if (standing) contact.stop = standing;
    transaction.putContact(contact);
    if (isOther) await this.#onIdentityChanged(transaction, account, identityChangedText(contact.name));
    return contact;
  }

  /** A stop because of hidden entries ends when they are shown. */
  #afterNews(transaction: Transaction, stop: SecurityStop, contact: ContactRecord): SecurityStop | undefined {
    const shown = stop.claimed && contact.heads?.[stop.claimed.n];
    if (!shown || !sameBytes(shown, stop.claimed!.hash)) return stop;
    transaction.emit({
      type: "security",
      code: "chain-restored",
      user: `@${contact.name}`,
      text: `the server shows again what it hid of @${contact.name}`,
    });
    return undefined;
  }

  /** The account has another identity key, by a rotation that both keys signed: it is said, and stops sending if the old one was compared. */
  #identityChanged(transaction: Transaction, contact: ContactRecord): SecurityStop | undefined {
    const text = identityChangedText(contact.name);
    transaction.emit({ type: "security", code: "identity-changed", user: `@${contact.name}`, text });
    return contact.verifiedIdentity && this.#stopBecause("identity-changed", text);
  }
}

function identityChangedText(name: string): string {
  return `@${name} has a new identity key: the safety number is another one now`;
}

/** How many entries a chain has: `n` counts from 0. */
function entriesOf(chain: ChainState | undefined): number {
  return chain ? chain.n + 1 : 0;
}

/** A user name without its "@", checked. @throws ClientError */
export function plainName(name: string): string {
  const plain = name.trim().replace(/^@/, "").toLowerCase();
  if (!namePattern.test(plain)) {
    throw new ClientError("name-invalid", `"${name}" is no user name`, {
      hint: "names are 3 to 32 of a-z 0-9 . _ - and begin and end with a letter or digit",
    });
  }
  return plain;
}
