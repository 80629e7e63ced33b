/**
 * How messages and what else happens in a conversation look to people: time, author, text, how far an own message got, and
 * the id that other commands take. Every line after the first is indented, so that no text can pose as a message of its own.
 */
import type { ConversationEvent, Message } from "@sotto/client";
import type { Output } from "./output.ts";
import { printable, printableLines } from "./printable.ts";
import { shortTime } from "./times.ts";

/** Enough of an id to be unique in any history that a person scrolls through. */
const shownIdDigits = 8;

/** ✓ on the server, ✓✓ on their device, then when they read it. */
export function ticks(message: Message, nowMs: number): string {
  if (message.state === "sending") return "… not sent yet";
  if (message.state === "accepted") return "✓";
  if (message.state === "delivered") return "✓✓";
  if (message.state === "read") return message.readAt ? `✓✓ read ${shortTime(message.readAt, nowMs)}` : "✓✓ read";
  if (message.state === "failed") return `✗ not sent${message.failure ? `: ${printable(message.failure)}` : ""}`;
  return "";
}

export function messageLines(message: Message, options: { output: Output; nowMs: number; ids?: boolean }): string[] {
  const { output, nowMs, ids = true } = options;
  const time = shortTime(message.at, nowMs);
  const own = message.state !== "received";
  const author = own ? "you" : printable(message.from);
  const lines = printableLines(message.text);
  const id = printable(message.id.slice(0, shownIdDigits));
  const replied =
    message.replyTo === undefined
      ? ""
      : output.style("dim", `(to ${printable(message.replyTo.slice(0, shownIdDigits))}) `);
  const indent = " ".repeat(time.length + 2);
  const shown = lines.map((line, index) =>
    index === 0
      ? `${output.style("dim", time)}  ${output.style("bold", `${author}:`)} ${replied}${line}`
      : `${indent}${line}`,
  );
  const state = ticks(message, nowMs);
  const marks = [
    state && output.style(message.state === "failed" ? "red" : "green", state),
    ids && output.style("dim", `[${id}]`),
  ];
  return [...shown.slice(0, -1), [shown.at(-1), ...marks.filter(Boolean)].join("  ")];
}

export function eventLines(event: ConversationEvent, options: { output: Output; nowMs: number }): string[] {
  const line = `${shortTime(event.at, options.nowMs)}  * ${printable(event.text)}`;
  return [options.output.style(event.event === "identity-changed" ? "yellow" : "dim", line)];
}

/** Whether a row of the history is a message. */
export function isMessage(row: Message | ConversationEvent): row is Message {
  return "state" in row;
}
