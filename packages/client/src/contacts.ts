/**
 * Who is who: accounts by name and id, each with its verified chain, pinned at first sight. The e2ee package asks here for the
 * chain of every leaf; what is missing is fetched beforehand, in one request. A chain that does not extend the one that was
 * known is a security stop: somebody hides changes of that account.
 */
import { type ChainState, type Directory, decodeChainState, encodeChainState, verifyChain } from "@sotto/e2ee";
import { limits, namePattern, sameBytes, toHex } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Clock } from "./platform.ts";
import type { ContactRecord } from "./records.ts";
import type { State, Transaction } from "./state.ts";

type Requests = Pick<Connection, "request">;

export class Contacts implements Directory {
  readonly #state: State;
  readonly #clock: Clock;
  readonly #requests: () => Requests;
  readonly #chains = new Map<string, { encoded: Uint8Array; chain: ChainState }>();

  constructor(options: { state: State; clock: Clock; requests: () => Requests }) {
    this.#state = options.state;
    this.#clock = options.clock;
    this.#requests = options.requests;
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

  /** How far the own chain has come: every message says so. */
  ownHead(): { n: number; hash: Uint8Array } {
    const chain = this.chain(this.#state.account!.account)!;
    return { n: chain.n, hash: chain.head };
  }

  /** "@name" of an account; its id while the name is not known. */
  nameOf(account: Uint8Array): string {
    const own = this.#state.account;
    if (own && sameBytes(own.account, account)) return `@${own.name}`;
    const contact = this.#state.contacts.get(toHex(account));
    return contact ? `@${contact.name}` : toHex(account).slice(0, 8);
  }

  /** The account of a name, asked for at the server if it was never met. @throws ClientError */
  async find(name: string): Promise<ContactRecord> {
    const plain = plainName(name);
    const known = this.#state.accountByName.get(plain);
    if (known) return this.#state.contacts.get(known)!;
    if (plain === this.#state.account?.name) throw new ClientError("invalid-argument", "that is you", { hint: "name somebody else" });
    let found;
    try {
      found = await this.#requests().request("lookupAccount", { name: plain });
    } catch (error) {
      const refused = refusedBy(`find @${plain}`, error);
      throw refused.code === "not-found" ? new ClientError("no-user", `there is no user @${plain} on this server`) : refused;
    }
    const contact = await this.#take(found.account, found.chain, plain);
    return contact;
  }

  /** Fetches what the server has of these accounts' chains beyond what is known. @throws ClientError */
  async fetch(accounts: readonly Uint8Array[]): Promise<void> {
    for (let at = 0; at < accounts.length; at += limits.chainsPerRequestMax) {
      const slice = accounts.slice(at, at + limits.chainsPerRequestMax);
      let reply;
      try {
        reply = await this.#requests().request("getChains", {
          accounts: slice.map((account) => ({ account, from: entriesOf(this.chain(account)) })),
        });
      } catch (error) {
        throw refusedBy("fetch account chains", error);
      }
      for (const { account, entries } of reply.chains) {
        if (slice.some((asked) => sameBytes(asked, account))) await this.#take(account, entries, undefined);
      }
    }
  }

  /** Remembers that a person compared safety numbers. */
  async confirm(account: string): Promise<void> {
    await this.#state.transact((transaction) => {
      const contact = transaction.contact(account);
      const chain = contact && this.chain(contact.account);
      if (contact && chain) transaction.putContact({ ...contact, verifiedIdentity: chain.identityKey });
    });
  }

  isVerified(contact: ContactRecord): boolean {
    const chain = this.chain(contact.account);
    return contact.verifiedIdentity !== undefined && chain !== undefined && sameBytes(contact.verifiedIdentity, chain.identityKey);
  }

  #take(account: Uint8Array, entries: readonly Uint8Array[], name: string | undefined): Promise<ContactRecord> {
    return this.#state.transact((transaction) => this.#verify(transaction, account, entries, name));
  }

  #verify(transaction: Transaction, account: Uint8Array, entries: readonly Uint8Array[], name: string | undefined): ContactRecord {
    const id = toHex(account);
    const known = transaction.contact(id);
    const own = this.#state.account;
    const ownChain = own && sameBytes(own.account, account);
    const before = this.chain(account);
    if (entries.length === 0 && known) return known;
    const verified = verifyChain([...entries], before);
    const label = name ?? known?.name ?? id.slice(0, 8);
    if (verified.kind !== "valid") {
      throw new ClientError("chain-rolled-back", `the server's record of @${label} does not follow from what was known; nothing was sent`);
    }
    const { chain } = verified;
    if (!sameBytes(chain.account, account) || (name !== undefined && chain.name !== name)) {
      throw new ClientError("chain-rolled-back", `the server answered with another account for @${label}; nothing was sent`);
    }
    const other = this.#state.accountByName.get(chain.name);
    if (other !== undefined && other !== id) {
      throw new ClientError("identity-changed", `the server shows another account under the name @${chain.name} than before; nothing was sent`);
    }
    if (ownChain) {
      transaction.putAccount({ ...own, chain: encodeChainState(chain) });
      return { account, name: own.name, chain: encodeChainState(chain), firstSeenAt: this.#clock.now() };
    }
    const contact: ContactRecord = {
      ...known,
      account: account.slice(),
      name: chain.name,
      chain: encodeChainState(chain),
      firstSeenAt: known?.firstSeenAt ?? this.#clock.now(),
    };
    transaction.putContact(contact);
    return contact;
  }
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
