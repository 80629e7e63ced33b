/**
 * One conversation, live: what was said last, then a line to write on. Messages of the other side appear as they come and count as read
 * once they are on the screen; one's own show how far they got, in place while they are on the screen.
 */
import type { ClientEvent, Conversation, Message } from "@sotto/client";
import { sizeText } from "../transfers.ts";
import { askStatus } from "../commands/status.ts";
import { eventLines, isMessage, messageLines } from "../message-lines.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";
import { sayFailure } from "./sign-in.ts";
import { messageCommandLines, runMessageCommand } from "./message-commands.ts";
import type { Block } from "./screen.ts";
import type { Session } from "./session.ts";
import { verifyPerson } from "./verify-person.ts";

/** A page of what came before. */
const pageMessages = 15;
/** A message that is accepted within this time is first shown with its tick. */
const acceptWaitMs = 5_000;
/** What is being typed is kept so often. */
const draftPauseMs = 1_000;

/** Whom one writes to: the conversation may not exist before the first message. */
export interface Partner {
  /** "@name", or the id of a group's conversation. */
  to: string;
  /** For people. */
  title: string;
  conversation?: string;
}

export function partnerOf({ conversation, kind, title }: Conversation): Partner {
  return { to: kind === "direct" ? title : conversation, title, conversation };
}

/** Resolves when the person goes back; `false` at the end of the input. */
export async function openConversation(session: Session, partner: Partner): Promise<boolean> {
  const view = new ConversationView(session, partner);
  session.view = view;
  try {
    return await view.run();
  } finally {
    session.view = undefined;
    view.close();
  }
}

class ConversationView {
  readonly #session: Session;
  readonly #partner: Partner;
  /** Messages that may still change on the screen, by id. */
  readonly #blocksById = new Map<string, Block>();
  /** Own ones whose ticks are not at their end. */
  readonly #underWay = new Set<string>();
  /** Messages by the number under which they are shown, counted from 1. */
  readonly #numbered: string[] = [];
  /** What was learned about the other side's reading, to be said once for several messages. */
  #readTimer: NodeJS.Timeout | undefined;
  #oldestShown: string | undefined;
  /** Events wait until what they follow is on the screen. */
  #ready = Promise.withResolvers<void>();
  readonly #shown = new Set<string>();
  /** What is being written, as it was kept last, and when it is kept next. */
  #draft = "";
  #draftTimer: NodeJS.Timeout | undefined;
  /** Who is typing now. */
  readonly #typing = new Set<string>();

  constructor(session: Session, partner: Partner) {
    this.#session = session;
    this.#partner = partner;
  }

  get title(): string {
    return this.#partner.title;
  }

  async run(): Promise<boolean> {
    const { screen, output } = this.#session;
    await this.#find();
    screen.say(
      "",
      output.style("bold", printable(this.#partner.title)),
      output.style(
        "dim",
        "Enter sends what you type, Alt-Enter begins a new line; /back returns (after a text: keeps it), /help shows more.",
      ),
    );
    await this.#showEarlier();
    this.#ready.resolve();
    if (screen.interactive) await this.#findDraft();
    for (;;) {
      const line = await screen.ask(this.prompt(), {
        erase: true,
        line: this.#draft,
        onInput: (typed) => this.#onInput(typed),
      });
      if (line === undefined) return false;
      const text = line.replace(/^\s*\n|\s+$/g, "");
      if (text === "") continue;
      const [, left] = /^([^/][\s\S]*?)\s+\/back$/.exec(text) ?? [];
      this.#setDraft(left ?? "");
      if (left !== undefined) return true;
      try {
        if (text.startsWith("/") && !text.startsWith("//")) {
          if (!(await this.#command(text.slice(1)))) return true;
        } else await this.#send(text.replace(/^\/\//, "/"));
      } catch (error) {
        sayFailure(screen, this.#session.context, error);
        // What was typed is not lost: it stands above, and the arrow key brings it back.
        if (!text.startsWith("/")) screen.say(output.style("dim", `  not sent: ${printable(text)}`));
      }
    }
  }

  close(): void {
    clearTimeout(this.#readTimer);
    this.#keepDraft();
    this.#ready.resolve();
  }

  prompt(): string {
    const typing = [...this.#typing].join(", ");
    return this.#session.promptFor(`to ${this.#partner.title}${typing && ` (${typing} is typing…)`}`);
  }

  /** Whether the event was shown here. */
  async onEvent(event: ClientEvent): Promise<boolean> {
    const { screen, output } = this.#session;
    if (event.type === "presence") {
      if (event.user !== this.#partner.to) return false;
      await this.#ready.promise;
      const seen = event.lastSeenAt ? `, last seen ${shortTime(event.lastSeenAt, this.#session.now())}` : "";
      screen.say(output.style("dim", `* ${printable(event.user)} is ${event.online ? "online" : `offline${seen}`}`));
      return true;
    }
    if (event.type === "typing") {
      if (event.conversation !== this.#partner.conversation) return false;
      if (event.active) this.#typing.add(event.user);
      else this.#typing.delete(event.user);
      screen.setPrompt(this.prompt());
      return true;
    }
    if (!("conversation" in event) || event.type === "read") return false;
    if (this.#partner.conversation === undefined) await this.#find();
    if (event.conversation !== this.#partner.conversation) return false;
    await this.#ready.promise;
    if (event.type === "receipt") this.#onReceipt(event);
    else if (event.type === "changed") this.#onChanged(event);
    else if (event.type === "hidden") this.#onHidden(event.id);
    else if (event.type !== "message" && event.type !== "event") return event.type === "reaction";
    else if (event.type === "event") screen.say(...eventLines(event, this.#lines));
    else if (!this.#shown.has(event.id)) await this.#show(event);
    return true;
  }

  /** Something was typed, or taken back. */
  #onInput(typed: string): void {
    if (typed.startsWith("/")) return;
    this.#setDraft(typed);
    if (this.#partner.conversation === undefined) return;
    void this.#session.client.setTyping({ with: this.#partner.conversation, active: typed !== "" }).catch(() => {
      // Whoever cannot be told does not miss it.
    });
  }

  async #findDraft(): Promise<void> {
    try {
      this.#draft = (await this.#session.client.getDraft({ with: this.#partner.to })).text;
    } catch {
      // Somebody whose name is not known yet: nothing was written to them.
    }
  }

  #setDraft(text: string): void {
    if (text === this.#draft) return;
    this.#draft = text;
    this.#draftTimer ??= setTimeout(() => this.#keepDraft(), draftPauseMs);
  }

  /** What is being typed is there again next time, on this device or another. */
  #keepDraft(): void {
    if (this.#draftTimer === undefined) return;
    clearTimeout(this.#draftTimer);
    this.#draftTimer = undefined;
    void this.#session.client.setDraft({ with: this.#partner.to, text: this.#draft }).catch(() => {
      // It is too long, or there is no room: it stands on the line, and no more.
    });
  }

  get #lines() {
    return { output: this.#session.output, nowMs: this.#session.now() };
  }

  #linesOf(message: Message): string[] {
    let number = this.#numbered.indexOf(message.id) + 1;
    if (number === 0) number = this.#numbered.push(message.id);
    return messageLines(message, { ...this.#lines, label: `#${number}` });
  }

  #put(message: Message): void {
    this.#shown.add(message.id);
    this.#blocksById.set(message.id, this.#session.screen.say(...this.#linesOf(message)));
    if (message.state !== "received") this.#underWay.add(message.id);
  }

  async #find(): Promise<void> {
    const all = await this.#session.client.conversations();
    this.#partner.conversation ??= all.find(({ title }) => title === this.#partner.to)?.conversation;
  }

  async #show(message: Message): Promise<void> {
    this.#put(message);
    if (message.unread) await this.#session.client.markRead({ ids: [message.id] });
  }

  async #showEarlier(): Promise<boolean> {
    const { client, screen, output } = this.#session;
    if (this.#partner.conversation === undefined) {
      screen.say(output.style("dim", `No messages with ${printable(this.#partner.title)} yet.`));
      return false;
    }
    const options = { with: this.#partner.conversation, limit: pageMessages, events: true };
    const rows = await client.history(
      this.#oldestShown === undefined ? options : { ...options, before: this.#oldestShown },
    );
    const messages = rows.filter(isMessage);
    this.#oldestShown = messages[0]?.id ?? this.#oldestShown;
    if (rows.length === 0) screen.say(output.style("dim", "That is all there is."));
    else if (rows.length === pageMessages) screen.say(output.style("dim", "(/more shows what came before)"));
    for (const row of rows) {
      if (isMessage(row)) this.#put(row);
      // What was done to a message is seen on the message itself.
      else if (row.message === undefined) screen.say(...eventLines(row, this.#lines));
    }
    const unread = messages.filter((message) => message.unread).map(({ id }) => id);
    if (unread.length > 0) await client.markRead({ ids: unread });
    return rows.length > 0;
  }

  async #send(text: string): Promise<void> {
    const message = await this.#session.client.send({ to: this.#partner.to, text });
    this.#partner.conversation ??= message.conversation;
    await this.#showSent(message);
  }

  async #showSent(message: Message): Promise<void> {
    const { client, screen } = this.#session;
    this.#put(message);
    // A script wants to know before its next line is taken; a person sees the tick when it comes.
    if (!screen.interactive && this.#session.connected) {
      await client.waitFor({ id: message.id, state: "accepted", timeoutMs: acceptWaitMs });
    }
  }

  #onReceipt(message: Message): void {
    const { screen } = this.#session;
    const isUnderWay = this.#underWay.has(message.id);
    const lines = this.#linesOf(message);
    if (!this.#replace(message.id, lines)) {
      if (message.state === "failed" || (isUnderWay && !screen.interactive)) screen.say(...lines);
      else if (message.state === "read") this.#sayReadSoon(message);
    }
    if (message.state === "read" || message.state === "failed") this.#underWay.delete(message.id);
  }

  /** In place while it is on the screen; what has scrolled away is shown once more if it was the other side's doing. */
  #onChanged(message: Message): void {
    if (!this.#shown.has(message.id) || this.#replace(message.id, this.#linesOf(message))) return;
    if (message.change !== "sending") this.#session.screen.say(...this.#linesOf(message));
  }

  #onHidden(id: string): void {
    const { output, screen } = this.#session;
    const line = output.style("dim", `  #${this.#numbered.indexOf(id) + 1} was deleted for you`);
    if (this.#shown.has(id) && !this.#replace(id, [line])) screen.say(line);
  }

  #replace(id: string, lines: string[]): boolean {
    const block = this.#blocksById.get(id);
    return block !== undefined && this.#session.screen.replace(block, lines);
  }

  /** Several messages are read at once; the newest says it for all. */
  #sayReadSoon(message: Message): void {
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      const at = message.readAt ? ` ${shortTime(message.readAt, this.#session.now())}` : "";
      const [first = ""] = printable(message.text).match(/^.{0,40}/u) ?? [];
      this.#session.screen.say(this.#session.output.style("dim", `  ✓✓ read${at}, up to “${first}”`));
    }, 150);
  }

  /** Whether to stay. */
  async #command(text: string): Promise<boolean> {
    const { client, screen, output } = this.#session;
    const [word = ""] = text.trim().toLowerCase().split(/\s+/);
    if (["back", "b", "quit", "q", "menu", "exit"].includes(word)) return false;
    if (["more", "m"].includes(word)) await this.#showEarlier();
    else if (word === "verify") await verifyPerson(this.#session, this.#partner.to);
    else if (word === "status") {
      const { user, online, lastSeenAt } = await askStatus(client, this.#partner.to);
      const seen = lastSeenAt
        ? `was last seen ${shortTime(lastSeenAt, this.#session.now())}`
        : "is not online, or does not show it";
      screen.say(`${printable(user)} ${online ? "is online" : seen}`);
    } else if (word === "attach") await this.#attach(text.replace(/^\s*\S+\s*/, ""));
    else if (!(await this.#changeMessage(text))) {
      if (!["help", "h", "?"].includes(word))
        screen.say(`There is no /${printable(word)} here; a text that begins with a slash is written with two.`);
      screen.say(
        output.style("dim", "  /back    return to the menu        /more    earlier messages"),
        output.style("dim", "  /verify  compare safety numbers    /status  online, or last seen"),
        output.style("dim", "  /attach FILE [TEXT]  send a file; in quotes if its name has spaces"),
        ...messageCommandLines().map((line) => output.style("dim", line)),
        output.style("dim", "  ✓ on the server   ✓✓ on their device   … not sent yet, goes out by itself"),
      );
    }
    return true;
  }

  /** FILE or "FILE", and what is said with it. */
  async #attach(typed: string): Promise<void> {
    const { client, screen } = this.#session;
    const [, quoted, plain, text = ""] = /^(?:"([^"]+)"|(\S+))\s*([^]*)$/.exec(typed) ?? [];
    const file = quoted ?? plain;
    if (file === undefined) return void screen.say("it is written /attach FILE [TEXT]: send a file");
    const message = await client.send({ to: this.#partner.to, text, attachments: [{ file }] });
    this.#partner.conversation ??= message.conversation;
    await this.#showSent(message);
  }

  /** Whether it was a command that does something to a message. */
  async #changeMessage(text: string): Promise<boolean> {
    const { client, screen } = this.#session;
    const result = await runMessageCommand(client, this.#partner, text, (number) => this.#numbered[number - 1]);
    if (result.kind === "usage") screen.say(result.text);
    if (result.kind === "done" && result.sent) await this.#showSent(result.sent);
    if (result.kind === "done" && result.saved) {
      for (const { name, path, size } of result.saved)
        screen.say(`saved ${printable(path ?? name)} (${sizeText(size)})`);
    }
    return result.kind !== "other";
  }
}
