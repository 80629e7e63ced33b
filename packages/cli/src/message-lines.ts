/**
 * How messages and what else happens in a conversation look to people: time, author, text, how far an own message got, and
 * the id that other commands take. Every line after the first is indented, so that no text can pose as a message of its own.
 */
import type { ConversationEvent, Message, MessageState } from "@sotto/client";
import type { Output } from "./output.ts";
import { printable } from "./printable.ts";
import { textLines } from "./text-lines.ts";
import { textWidth, wrapText } from "./text-width.ts";
import { shortTime } from "./times.ts";
import { sizeText } from "./transfers.ts";

/** Enough of an id to be unique in any history that a person scrolls through. */
const shownIdDigits = 8;

/** Enough of a message that is replied to for a person to know which. */
const quotedCharacters = 40;

/** ✓ on the server, ✓✓ on their device, then when they read it. */
export function ticks(message: Message, nowMs: number): string {
  if (message.state === "sending") return message.waiting ? `… ${printable(message.waiting)}` : "… not sent yet";
  const { receipts } = message;
  // In a group with more than one other side, how many it has come to says more than a time.
  if (receipts && receipts.of > 1 && message.state !== "failed") return groupTicks(message.state, receipts);
  if (message.state === "accepted") return "✓";
  if (message.state === "delivered") return "✓✓";
  if (message.state === "read") return message.readAt ? `✓✓ read ${shortTime(message.readAt, nowMs)}` : "✓✓ read";
  if (message.state === "failed") return `✗ not sent${message.failure ? `: ${printable(message.failure)}` : ""}`;
  return "";
}

/** What a text answers, or that it is another's. */
function beforeText({ replyTo, quote, forwarded, sharedBy }: Message): string {
  const replied = quote
    ? `(to ${printable(quote.from)}${quote.deleted ? ", deleted" : `: “${shortened(quote.text)}”`}) `
    : replyTo === undefined
      ? ""
      : `(to ${printable(replyTo.slice(0, shownIdDigits))}) `;
  const marks = `${sharedBy === undefined ? "" : `(shared by ${printable(sharedBy)}) `}${forwarded ? "(forwarded) " : ""}`;
  return replied + marks;
}

function shortened(text: string): string {
  const characters = Array.from(printable(text));
  return characters.length <= quotedCharacters
    ? characters.join("")
    : `${characters.slice(0, quotedCharacters - 1).join("")}…`;
}

function shownText(message: Message): string {
  return message.deleted ? "(deleted)" : message.text;
}

/** What was done to a message since it was written. */
function changeMarks(message: Message, nowMs: number, output: Output): string[] {
  const { edited, deleted, reactions, pinned, change, failure } = message;
  const reacted = (reactions ?? [])
    .map(
      ({ emoji, users }) => `${printable(emoji)} ${users.length > 3 ? users.length : users.map(printable).join(", ")}`,
    )
    .join("  ");
  const marks = [
    reacted,
    deleted ? output.style("dim", `by ${printable(deleted.by)} ${shortTime(deleted.at, nowMs)}`) : "",
    edited === undefined ? "" : output.style("dim", `edited ${shortTime(edited, nowMs)}`),
    pinned ? output.style("yellow", "pinned") : "",
    change === "sending" ? output.style("dim", "… change not sent yet") : "",
    change === "failed" ? output.style("red", `✗ change refused${failure ? `: ${printable(failure)}` : ""}`) : "",
  ];
  return marks.filter((mark) => mark !== "");
}

function groupTicks(state: MessageState, { delivered, read, of }: NonNullable<Message["receipts"]>): string {
  const mark = state === "accepted" ? "✓" : "✓✓";
  if (read.length > 0) return `${mark} read by ${read.length === of ? "all" : `${read.length} of ${of}`}`;
  return delivered.length > 0 && state === "accepted" ? `${mark} with ${delivered.length} of ${of}` : mark;
}

/** Who has read an own message in a group, and who has it. */
export function receiptLines(message: Message, options: { output: Output; nowMs: number }): string[] {
  const { receipts } = message;
  if (!receipts) return [];
  const indent = " ".repeat(shortTime(message.at, options.nowMs).length + 2);
  const read = new Set(receipts.read);
  const delivered = receipts.delivered.filter((user) => !read.has(user));
  const line = (label: string, users: readonly string[]) =>
    users.length === 0
      ? []
      : [options.output.style("dim", `${indent}${label} ${users.map((user) => printable(user)).join(", ")}`)];
  return [...line("read by", receipts.read), ...line("delivered to", delivered)];
}

/**
 * @param options.label stands behind the message in place of its id; nothing does if it is empty
 * @param options.group where it was written, if that is not plain from what stands around it
 */
export function messageLines(
  message: Message,
  options: { output: Output; nowMs: number; label?: string; group?: string | undefined },
): string[] {
  const { output, nowMs, group, label = `[${printable(message.id.slice(0, shownIdDigits))}]` } = options;
  const time = shortTime(message.at, nowMs);
  const own = message.state !== "received";
  const author = `${own ? "you" : printable(message.from)}${group === undefined ? "" : ` in ${printable(group)}`}`;
  const replied = beforeText(message);
  const indent = " ".repeat(time.length + 2);
  const columns = output.columns() ?? Number.POSITIVE_INFINITY;
  const firstIndent = textWidth(`${indent}${author}: ${replied}`);
  const said = message.text === "" && message.attachments ? [] : [shownText(message)];
  const [first = "", ...rest] = [
    ...said.flatMap((text) => textLines(text, output, columns - indent.length, columns - firstIndent)),
    ...fileLines(message).flatMap((line) => wrapText(line, columns - indent.length)),
  ];
  const lines = [
    `${output.style("dim", time)}  ${output.style("bold", `${author}:`)} ${output.style("dim", replied)}${first}`,
    ...rest.map((line) => `${indent}${line}`),
  ];

  const state = ticks(message, nowMs);
  const shownState = state && output.style(message.state === "failed" ? "red" : "green", state);
  const until = message.expiresAt && output.style("dim", `until ${shortTime(message.expiresAt, nowMs)}`);
  const marks = [...changeMarks(message, nowMs, output), shownState, until, label && output.style("dim", label)]
    .filter(Boolean)
    .join("  ");
  if (marks === "") return lines;
  const last = `${lines.at(-1)}  ${marks}`;
  return textWidth(last) <= columns ? [...lines.slice(0, -1), last] : [...lines, `${indent}${marks}`];
}

/** "[file] lake.jpg (image/jpeg, 300 kB)": a caption cannot pose as one, since these stand behind it, and each is one line. */
function fileLines({ attachments = [] }: Message): string[] {
  return attachments.map(({ name, type, size, voice }) => {
    const kind = voice ? "voice" : "file";
    return `[${kind}] ${printable(name)} (${printable(type)}, ${sizeText(size)})`;
  });
}

export function eventLines(event: ConversationEvent, options: { output: Output; nowMs: number }): string[] {
  const { output, nowMs } = options;
  const time = shortTime(event.at, nowMs);
  const indent = " ".repeat(time.length + 2);
  const columns = output.columns() ?? Number.POSITIVE_INFINITY;
  const rows = wrapText(`* ${printable(event.text)}`, columns - indent.length);
  const style = event.event === "identity-changed" ? "yellow" : "dim";
  return rows.map((row, index) => output.style(style, `${index === 0 ? `${time}  ` : indent}${row}`));
}

/** Whether a row of the history is a message. */
export function isMessage(row: Message | ConversationEvent): row is Message {
  return "state" in row;
}
