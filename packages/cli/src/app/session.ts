/**
 * What the screens of the client share: the account, whether it is connected, and where events go: to the open
 * conversation if they belong there, else a short notice above the prompt.
 */
import type { Client, ClientEvent, Message, WhoAmI } from "@sotto/client";
import type { Context } from "../context.ts";
import type { Output } from "../output.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import type { Screen } from "./screen.ts";
import { sayFailure } from "./sign-in.ts";

/** The screen that events are offered to first. */
interface View {
  onEvent(event: ClientEvent): Promise<boolean>;
  prompt(): string;
}

export class Session {
  readonly client: Client;
  readonly context: Context;
  readonly screen: Screen;
  readonly self: WhoAmI;
  connected: boolean;
  view: View | undefined;
  readonly #unsubscribe: () => void;
  /** Events are shown one after the other, in their order. */
  #showing: Promise<void> = Promise.resolve();

  constructor(options: { client: Client; context: Context; screen: Screen; self: WhoAmI }) {
    this.client = options.client;
    this.context = options.context;
    this.screen = options.screen;
    this.self = options.self;
    this.connected = options.self.connected;
    this.#unsubscribe = this.client.subscribe((event) => {
      this.#showing = this.#showing
        .then(() => this.#show(event))
        .catch((error: unknown) => sayFailure(this.screen, this.context, error));
    });
  }

  get output(): Output {
    return this.context.output;
  }

  now(): number {
    return this.context.environment.now();
  }

  /** The prompt for a place: what it is, and that the server is away while it is. */
  promptFor(place: string): string {
    const away = this.connected ? "" : this.output.style("yellow", " (not connected)");
    return `${this.output.style("bold", printable(place))}${away}> `;
  }

  /** The prompt where no view is open. */
  menuPrompt(): string {
    return this.promptFor(`sotto ${person(this.self.user)}`);
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#showing;
  }

  async #show(event: ClientEvent): Promise<void> {
    if (event.type === "connection") return this.#onConnection(event);
    if (event.type === "security") {
      this.screen.say(this.output.style("yellow", `! ${printable(event.text)}`));
      return;
    }
    if ((await this.view?.onEvent(event)) === true) return;
    if (event.type === "request") {
      this.screen.say(this.output.style("dim", `* ${printable(event.from)} asks to write to you: r shows it`));
      return;
    }
    if (event.type === "reaction") {
      const said = `* ${printable(event.from)} reacted ${printable(event.emoji)} to a message of yours`;
      this.screen.say(this.output.style("dim", said));
      return;
    }
    // Who is named is called, in a muted conversation too.
    if (event.type === "message" && event.unread && (!event.muted || this.#names(event))) {
      const bell = this.screen.interactive ? "\u0007" : "";
      const title = await this.#titleOf(event.conversation, event.from);
      const named = this.#names(event) ? ", who names you" : "";
      this.screen.say(`${bell}${this.output.style("green", `★ new message from ${title}${named}`)}`);
    }
    if (event.type === "receipt" && event.state === "failed") {
      this.screen.say(
        this.output.style(
          "red",
          `✗ “${printable(event.text.slice(0, 40))}” was not sent: ${printable(event.failure ?? "refused")}`,
        ),
      );
    }
  }

  #names({ mentions }: Message): boolean {
    return mentions?.includes(this.self.user) ?? false;
  }

  #onConnection(event: Extract<ClientEvent, { type: "connection" }>): void {
    if (event.connected === this.connected) return;
    this.connected = event.connected;
    this.screen.say(
      this.connected
        ? this.output.style("dim", "* connected")
        : this.output.style(
            "yellow",
            `* not connected${event.reason ? ` (${printable(event.reason)})` : ""}: what you write is kept, and goes out by itself`,
          ),
    );
    this.screen.setPrompt(this.view?.prompt() ?? this.menuPrompt());
  }

  async #titleOf(conversation: string, from: string): Promise<string> {
    const found = (await this.client.conversations()).find((each) => each.conversation === conversation);
    const group = found?.kind === "group" ? ` in ${printable(found.title)}` : "";
    return `${printable(from)}${group}${found && found.unread > 1 ? ` (${found.unread} unread)` : ""}`;
  }
}
