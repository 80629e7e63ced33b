/**
 * What the keyboard sends, made ready for Node's line editor: a paste of several lines (bracketed paste) and Alt-Enter become one line with
 * a visible mark for each line break, so that they are one message, sent by Enter like any other. `toText` turns the marks back.
 * Keys pass one line at a time, when a line is wanted: what is typed ahead waits, unseen, for the question that it answers.
 */
import { Transform, type TransformCallback } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { Source } from "../environment.ts";

export const lineBreakMark = "␤";
export const pasteOn = "\x1b[?2004h";
export const pasteOff = "\x1b[?2004l";

// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const control = /[\u0000-\u001f\u007f]/g;
const interrupt = "\u0003";
const pasteStart = "\x1b[200~";
const pasteEnd = "\x1b[201~";

/** The text that was meant. */
export function toText(line: string): string {
  return line.replaceAll(lineBreakMark, "\n");
}

/** The same the other way; control characters are left out. */
export function toLine(text: string): string {
  return text
    .replace(/\r\n|\r|\n/g, lineBreakMark)
    .replaceAll("\t", "    ")
    .replace(control, "");
}

export class KeyInput extends Transform {
  readonly isTTY = true;
  readonly #terminal: Source;
  readonly #decoder = new StringDecoder("utf8");
  #pasting = false;
  /** The beginning of an escape sequence at the end of a chunk. */
  #held = "";
  #wanted = false;
  #waiting = "";

  constructor(terminal: Source) {
    super();
    this.#terminal = terminal;
  }

  setRawMode(raw: boolean): this {
    this.#terminal.setRawMode?.(raw);
    return this;
  }

  /** Lets the keys of one line through, as they come. */
  wantLine(): void {
    this.#wanted = true;
    this.#release();
  }

  /** The keys that wait, for someone else to read. */
  takeWaiting(): string {
    const waiting = this.#waiting;
    this.#waiting = "";
    return waiting;
  }

  /** Keys that someone else has read too far. */
  giveBack(keys: string): void {
    this.#waiting = keys + this.#waiting;
    this.#release();
  }

  override _transform(chunk: Buffer | string, _encoding: BufferEncoding, done: TransformCallback): void {
    const keys = this.#translate(this.#held + (typeof chunk === "string" ? chunk : this.#decoder.write(chunk)));
    this.#waiting += keys;
    if (!this.#wanted && keys.includes(interrupt)) {
      // Ctrl-C is for now, not for the next question.
      this.#waiting = "";
      this.push(interrupt);
    }
    this.#release();
    done();
  }

  #release(): void {
    if (!this.#wanted || this.#waiting === "") return;
    const [line = this.#waiting] = /^[^\r\n]*(?:\r\n|\r|\n)/.exec(this.#waiting) ?? [];
    this.#waiting = this.#waiting.slice(line.length);
    if (/[\r\n]$/.test(line)) this.#wanted = false;
    this.push(line.replace(/\r\n$/, "\r"));
  }

  #translate(keys: string): string {
    this.#held = "";
    let out = "";
    for (let rest = keys; rest !== "";) {
      const marker = this.#pasting ? pasteEnd : pasteStart;
      const at = rest.indexOf(marker);
      if (at >= 0) {
        out += this.#part(rest.slice(0, at));
        this.#pasting = !this.#pasting;
        rest = rest.slice(at + marker.length);
        continue;
      }
      // A carriage return may be the first half of a pasted line break.
      const held = this.#pasting && rest.endsWith("\r") ? 1 : beginningAtEnd(rest, marker);
      const whole = rest.length - held;
      out += this.#part(rest.slice(0, whole));
      this.#held = rest.slice(whole);
      break;
    }
    return out;
  }

  #part(keys: string): string {
    // A control key within a paste is text that was copied, not a key that was pressed.
    if (this.#pasting) {
      return toLine(keys);
    }
    return keys.replaceAll("\x1b\r", lineBreakMark);
  }
}

/** How many characters at the end of the text may be the beginning of the marker. A lone escape is a key of its own. */
function beginningAtEnd(text: string, marker: string): number {
  for (let length = Math.min(marker.length - 1, text.length); length > 1; length--) {
    if (marker.startsWith(text.slice(-length))) return length;
  }
  return 0;
}
