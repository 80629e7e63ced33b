/**
 * The line that a person types on, and what appears above it: messages arrive while someone is typing without touching what
 * they typed. What was printed can still change in place (ticks), as long as it is on the screen.
 * Where no terminal is, the same reads and prints plain lines.
 */
import { createInterface, type Interface } from "node:readline";
import type { Environment } from "../environment.ts";
import { KeyInput, pasteOff, pasteOn, toLine, toText } from "./key-input.ts";
import { giveTypedAhead, takeTypedAhead } from "../questions.ts";
import { rowsOf } from "../text-width.ts";

/** Something printed that may be printed anew. */
export interface Block {
  lines: readonly string[];
}

export interface AskOptions {
  /** The typed line goes when it is entered. */
  erase?: boolean;
  /** What stands on the line from the beginning. */
  line?: string;
  /** Told what stands on the line whenever it changes, until it is entered. Where no terminal is, nothing is told. */
  onInput?: (typed: string) => void;
}

export interface Screen {
  /** Whether a person sits there. */
  readonly interactive: boolean;
  /** Prints above the line that is being typed. */
  say(...lines: string[]): Block;
  /** Prints the block anew where it is; false if it has left the screen and stays as it was. */
  replace(block: Block, lines: readonly string[]): boolean;
  /** A line; undefined when there will be none any more. */
  ask(prompt: string, options?: AskOptions): Promise<string | undefined>;
  /** Shows another prompt for the line that is being typed. */
  setPrompt(prompt: string): void;
  /** Gives the keyboard to a question that is not to be shown. */
  lend<T>(question: () => Promise<T>): Promise<T>;
  /** No more lines: whoever asks gets undefined. */
  end(): void;
  close(): void;
}

export function createScreen(environment: Environment): Screen {
  const interactive = environment.stdin.isTTY === true && environment.stdout.isTTY === true;
  return interactive ? new TerminalScreen(environment) : new PlainScreen(environment);
}

/** Lines that came before someone asked wait; the end of the input is remembered. */
class LineQueue {
  readonly #lines: string[] = [];
  #waiting: ((line: string | undefined) => void) | undefined;
  #ended = false;

  push(line: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting(line);
    else this.#lines.push(line);
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.(undefined);
    this.#waiting = undefined;
  }

  next(): Promise<string | undefined> {
    if (this.#lines.length > 0 || this.#ended) return Promise.resolve(this.#lines.shift());
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}

class PlainScreen implements Screen {
  readonly interactive = false;
  readonly #environment: Environment;
  readonly #queue = new LineQueue();
  readonly #lines: Interface;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#lines = createInterface({ input: environment.stdin, terminal: false, crlfDelay: Infinity });
    this.#lines.on("line", (line) => this.#queue.push(line));
    this.#lines.on("close", () => this.#queue.end());
  }

  say(...lines: string[]): Block {
    if (lines.length > 0) this.#environment.stdout.write(`${lines.join("\n")}\n`);
    return { lines };
  }

  replace(): boolean {
    return false;
  }

  ask(): Promise<string | undefined> {
    return this.#queue.next();
  }

  setPrompt(): void {}

  lend<T>(question: () => Promise<T>): Promise<T> {
    return question();
  }

  end(): void {
    this.#queue.end();
  }

  close(): void {
    this.#lines.close();
    this.#queue.end();
  }
}

/** More than a terminal is high. */
const blocksMax = 200;

class TerminalScreen implements Screen {
  readonly interactive = true;
  readonly #environment: Environment;
  readonly #queue = new LineQueue();
  readonly #input: KeyInput;
  readonly #editor: Interface & { prevRows?: number };
  #asking: { prompt: string; erase: boolean; onInput: (typed: string) => void } | undefined;
  #typed = "";
  #ended = false;
  /** What stands right above the prompt, oldest first, and how wide the terminal was when it was printed. */
  #blocks: Block[] = [];
  #blocksColumns = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#input = new KeyInput(environment.stdin);
    environment.stdin.pipe(this.#input);
    this.#editor = createInterface({
      input: this.#input,
      output: environment.stdout as unknown as NodeJS.WritableStream,
      terminal: true,
      historySize: 200,
      removeHistoryDuplicates: true,
    });
    environment.stdout.write(pasteOn);
    // After the editor, which listens since it was made, has taken the key.
    this.#input.on("keypress", () => {
      const { line } = this.#editor;
      if (!this.#asking || line === this.#typed) return;
      this.#typed = line;
      this.#asking.onInput(toText(line));
    });
    this.#editor.on("line", (line) => {
      const asked = this.#asking;
      this.#asking = undefined;
      if (asked?.erase) this.#up(rowsOf([asked.prompt + line], this.#columns));
      else this.#blocks = [];
      this.#queue.push(toText(line));
    });
    // Ctrl-C takes back what is being typed; on an empty line it leaves, as Ctrl-D does.
    this.#editor.on("SIGINT", () => {
      if (this.#editor.line === "") return this.#editor.close();
      this.#editor.write(null, { ctrl: true, name: "e" });
      this.#editor.write(null, { ctrl: true, name: "u" });
    });
    this.#editor.on("close", () => this.end());
  }

  get #columns(): number {
    return this.#environment.stdout.columns || 80;
  }

  say(...lines: string[]): Block {
    const block = { lines };
    if (this.#blocksColumns !== this.#columns) this.#blocks = [];
    this.#blocksColumns = this.#columns;
    this.#print(lines, 0);
    this.#blocks = [...this.#blocks, block].slice(-blocksMax);
    return block;
  }

  replace(block: Block, lines: readonly string[]): boolean {
    const at = this.#blocks.lastIndexOf(block);
    if (at < 0 || this.#blocksColumns !== this.#columns) return false;
    const from = this.#blocks.slice(at);
    const rows = rowsOf(
      from.flatMap((each) => each.lines),
      this.#columns,
    );
    // What has scrolled off the top cannot be reached.
    if (rows + this.#promptRows + 1 > (this.#environment.stdout.rows || 24)) return false;
    block.lines = lines;
    this.#print(
      from.flatMap((each) => each.lines),
      rows,
    );
    return true;
  }

  async ask(prompt: string, options: AskOptions = {}): Promise<string | undefined> {
    if (this.#ended) return undefined;
    this.#asking = { prompt, erase: options.erase === true, onInput: options.onInput ?? (() => {}) };
    this.#typed = "";
    this.#editor.setPrompt(prompt);
    this.#editor.prompt();
    if (options.line) {
      this.#typed = toLine(options.line);
      this.#editor.write(this.#typed);
    }
    this.#input.wantLine();
    return await this.#queue.next();
  }

  setPrompt(prompt: string): void {
    if (this.#asking === undefined) return;
    this.#asking.prompt = prompt;
    this.#editor.setPrompt(prompt);
    this.#print([], 0);
  }

  async lend<T>(question: () => Promise<T>): Promise<T> {
    const { stdin } = this.#environment;
    this.#editor.pause();
    stdin.unpipe(this.#input);
    this.#blocks = [];
    giveTypedAhead(stdin, this.#input.takeWaiting());
    try {
      return await question();
    } finally {
      this.#input.giveBack(takeTypedAhead(stdin));
      stdin.pipe(this.#input);
      stdin.setRawMode?.(true);
      stdin.resume();
      this.#editor.resume();
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#asking) this.#environment.stdout.write("\n");
    this.#asking = undefined;
    this.#queue.end();
  }

  close(): void {
    this.end();
    this.#editor.close();
    this.#environment.stdin.unpipe(this.#input);
    this.#environment.stdin.setRawMode?.(false);
    this.#environment.stdin.pause();
    this.#environment.stdout.write(pasteOff);
  }

  /** How far the cursor is below the beginning of the line that is being typed. */
  get #promptRows(): number {
    return this.#asking ? this.#editor.getCursorPos().rows : 0;
  }

  /** Writes lines in place of the prompt and of `rowsAbove` rows over it, then the prompt again with what was typed. */
  #print(lines: readonly string[], rowsAbove: number): void {
    const stdout = this.#environment.stdout as { cork?(): void; uncork?(): void } & Environment["stdout"];
    // One write to the terminal: nothing flickers.
    stdout.cork?.();
    if (this.#asking || rowsAbove > 0) this.#up(this.#promptRows + rowsAbove);
    if (lines.length > 0) stdout.write(`${lines.join("\n")}\n`);
    if (this.#asking) {
      // The editor would go up to where its line began before.
      this.#editor.prevRows = 0;
      this.#editor.prompt(true);
    }
    stdout.uncork?.();
  }

  #up(rows: number): void {
    this.#environment.stdout.write(`${rows > 0 ? `\x1b[${rows}A` : ""}\r\x1b[J`);
  }
}
