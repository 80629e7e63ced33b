/**
 * Questions on the terminal: asked on standard error, answered key by key, so that a password is never shown and what was typed or
 * pasted ahead answers the next question. Nothing is asked when there is no terminal: see `canAsk`.
 */
import { StringDecoder } from "node:string_decoder";
import type { Environment, Source } from "./environment.ts";
import { CommandError, Interrupted } from "./errors.ts";

/** Whether someone is there to answer. */
export function canAsk(environment: Environment): boolean {
  return environment.stdin.isTTY === true && environment.stderr.isTTY === true;
}

/** A line as it was typed, without the line break. @throws Interrupted at Ctrl-C, or Ctrl-D on an empty line */
export function askLine(environment: Environment, question: string): Promise<string> {
  return readAnswer(environment, question, { shown: (text) => text, dropped: invisible });
}

/** The same without showing it. */
export function askSecret(environment: Environment, question: string): Promise<string> {
  return readAnswer(environment, question, { shown: () => "", dropped: controls });
}

/** No is what anything but a clear yes means. */
export async function askYesNo(environment: Environment, question: string): Promise<boolean> {
  const answer = await askLine(environment, `${question} [y/N] `);
  return /^y(es)?$/i.test(answer.trim());
}

/** Keys that arrived after the line that answered the last question. */
const typedAheadBySource = new WeakMap<Source, string>();

/** Hands over keys that someone else read, before a question is asked. */
export function giveTypedAhead(stdin: Source, keys: string): void {
  typedAheadBySource.set(stdin, takeTypedAhead(stdin) + keys);
}

/** What was typed after the last answer. */
export function takeTypedAhead(stdin: Source): string {
  const keys = typedAheadBySource.get(stdin) ?? "";
  typedAheadBySource.delete(stdin);
  return keys;
}

// oxlint-disable-next-line no-control-regex -- arrow keys and the like arrive as escape sequences
const keySequence = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?/g;
// oxlint-disable-next-line no-control-regex -- the same, without its end
const begunSequence = /\x1b(?:\[[0-9;?]*[ -/]*|O)?$/;
/** A terminal sends the parts of one sequence together; what stays alone this long is the Escape key. */
const sequenceWithinMs = 50;
// What a paste may hold and nobody types: controls everywhere, and what is shown nothing invisible either, such as marks that
// turn the direction of the text. A secret keeps those: it is the same as when it comes from a file.
const controls = /\p{Cc}/u;
const invisible = /\p{C}/u;
const clearLine = "\r\x1b[K";

function readAnswer(
  environment: Environment,
  question: string,
  { shown, dropped }: { shown: (text: string) => string; dropped: RegExp },
): Promise<string> {
  const { stdin, stderr } = environment;
  if (!canAsk(environment)) {
    throw new CommandError("usage", "terminal-needed", `${question.trim()} there is no terminal to ask on`);
  }
  return new Promise((resolve, reject) => {
    const decoder = new StringDecoder("utf8");
    const promptLine = question.slice(question.lastIndexOf("\n") + 1);
    let text = "";
    let begun = "";
    let escapeTimer: NodeJS.Timeout | undefined;

    const finish = (settle: () => void, typedAhead = "") => {
      clearTimeout(escapeTimer);
      typedAheadBySource.set(stdin, typedAhead);
      stdin.off("data", onData);
      stdin.off("end", onEnd);
      stdin.setRawMode?.(false);
      stdin.pause();
      stderr.write("\n");
      settle();
    };
    const interrupt = () => finish(() => reject(new Interrupted("interrupted")));
    const onEnd = interrupt;

    const take = (given: string) => {
      clearTimeout(escapeTimer);
      const joined = begun + given;
      begun = begunSequence.exec(joined)?.[0] ?? "";
      if (begun !== "") escapeTimer = setTimeout(() => (begun = ""), sequenceWithinMs);
      const keys = joined.slice(0, joined.length - begun.length);
      const characters = Array.from(keys.replace(keySequence, ""));
      for (const [index, key] of characters.entries()) {
        if (key === "\r" || key === "\n") {
          const rest = characters.slice(index + 1);
          // A terminal in raw mode sends one of the two; a paste may bring both.
          if (key === "\r" && rest[0] === "\n") rest.shift();
          finish(() => resolve(text), rest.join("") + begun);
          return;
        }
        if (key === "\u0003" || (key === "\u0004" && text === "")) return interrupt();
        const before = text;
        if (key === "\u007f" || key === "\b") text = withoutLastCharacter(text);
        else if (key === "\u0015") text = "";
        else if (key === "\u0017") text = text.replace(/\S*\s*$/, "");
        else if (!dropped.test(key)) text += key;
        if (shown(text) === shown(before)) continue;
        stderr.write(text.length > before.length ? shown(key) : `${clearLine}${promptLine}${shown(text)}`);
      }
    };
    const onData = (chunk: Buffer | string) => take(typeof chunk === "string" ? chunk : decoder.write(chunk));

    stderr.write(question);
    stdin.setRawMode?.(true);
    stdin.on("data", onData);
    stdin.on("end", onEnd);
    stdin.resume();
    const typedAhead = takeTypedAhead(stdin);
    if (typedAhead !== "") take(typedAhead);
  });
}

function withoutLastCharacter(text: string): string {
  const last = Array.from(new Intl.Segmenter().segment(text)).at(-1);
  return last === undefined ? "" : text.slice(0, last.index);
}
