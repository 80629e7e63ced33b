/**
 * A member of a group who follows no rules: a client made of bare parts with a seat in a group of real engines. It keeps its
 * state as every member does, reads whatever entries it gets hold of, and says and commits what it likes.
 */
import assert from "node:assert/strict";
import {
  type ChainState,
  type Content,
  encodeContent,
  encrypt,
  type Group,
  groupInfo,
  joinGroup,
  processMessage,
  decodeContent,
  verifyChain,
} from "@sotto/e2ee";
import { createSubmissionId, fromHex, toHex } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { type Person, random, RawClient, refusal, register } from "../server/raw-client.ts";

/** An entry of a log, as the server pushes it. */
export interface Entry {
  readonly sequence: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- as in raw-client.ts
  readonly payload: any;
}

let insiders = 0;

export class Insider {
  readonly line: RawClient;
  readonly person: Person;
  readonly conversation: Uint8Array;
  readonly #chains = new Map<string, ChainState>();
  readonly directory = { chain: (account: Uint8Array) => this.#chains.get(toHex(account)) };
  group!: Group;
  #readUpTo = 0;

  private constructor(line: RawClient, person: Person, conversation: string) {
    this.line = line;
    this.person = person;
    this.conversation = fromHex(conversation)!;
  }

  /** A new account, let into a group by `add`. */
  static async enter(
    server: Pick<Server, "port">,
    prefix: string,
    add: (at: string) => Promise<{ conversation: string }>,
  ): Promise<Insider> {
    const line = await RawClient.connect(server);
    const person = await register(line, `${prefix}-in${insiders++}`);
    await line.request("subscribe", { cursors: [], inbox: 0 });
    const { conversation } = await add(`@${person.name}`);
    const insider = new Insider(line, person, conversation);
    await insider.#join();
    return insider;
  }

  get at(): string {
    return `@${this.person.name}`;
  }

  async #join(): Promise<void> {
    const { payload } = await this.line.event("welcome");
    const ref = toHex(payload.keyPackageRef);
    const keyPackage = this.person.keyPackages.find((one) => toHex(one.ref) === ref)!;
    for (;;) {
      const joined = await joinGroup({
        welcome: payload.bytes,
        keyPackage,
        expected: { conversation: this.conversation },
        device: this.person.keys,
        directory: this.directory,
      });
      if (joined.kind === "needs") await this.learn(joined.accounts);
      else {
        assert.ok(joined.kind === "joined", joined.kind);
        this.group = joined.group;
        return;
      }
    }
  }

  async learn(accounts: readonly Uint8Array[]): Promise<void> {
    const asked = accounts.map((account) => ({ account, from: 0 }));
    const { chains } = await this.line.request("getChains", { accounts: asked });
    for (const { account, entries } of chains) {
      const verdict = verifyChain(entries);
      if (verdict.kind === "valid") this.#chains.set(toHex(account), verdict.chain);
    }
  }

  /** Takes in what is new of these entries, the line's own unless others are given; what it could read of them. */
  async read(entries: readonly Entry[] = this.#delivered()): Promise<string[]> {
    const texts: string[] = [];
    for (const entry of entries) {
      if (entry.sequence <= this.#readUpTo) continue;
      this.#readUpTo = entry.sequence;
      const { text, group } = await this.open(entry, this.group);
      this.group = group;
      if (text !== undefined) texts.push(text);
    }
    return texts;
  }

  /** What some state of the group makes of an entry. */
  async open({ payload }: Entry, group: Group): Promise<{ text?: string; group: Group }> {
    for (;;) {
      const read = await processMessage(group, payload.bytes, { directory: this.directory, nowMs: Date.now() });
      if (read.kind === "needs") await this.learn(read.accounts);
      else if (read.kind === "commit") return { group: read.group };
      else if (read.kind === "message") {
        const content = decodeContent(read.content);
        return { group: read.group, ...(content.kind === "text" ? { text: content.text } : {}) };
      } else return { group };
    }
  }

  #delivered(): Entry[] {
    const id = toHex(this.conversation);
    return this.line.events.filter(({ name, payload }) => name === "entry" && toHex(payload.conversation) === id);
  }

  /** Says something, of any kind. */
  async say(content: Partial<Content> & Pick<Content, "kind">): Promise<void> {
    await this.read();
    const { n, head: hash } = this.person.chain;
    const frame = { salt: random.bytes(16), sentAtMs: Date.now(), head: { n, hash } };
    const encrypted = await encrypt(this.group, encodeContent({ ...frame, ...content } as Content), this.directory);
    this.group = encrypted.group;
    await this.line.request("sendMessage", {
      conversation: this.conversation,
      submission: createSubmissionId(random, Date.now()),
      message: encrypted.message,
    });
  }

  /** The code that the server refuses a commit with. */
  async refusalOf(commit: Uint8Array): Promise<string> {
    const info = await groupInfo(this.group);
    return refusal(this.line.request("submitCommit", { conversation: this.conversation, commit, groupInfo: info }));
  }
}
