/**
 * `sotto verify NAME`: the safety number of a conversation, to be compared over another channel, and the same as a QR code.
 * `--confirm` remembers that it was the same on both sides; `--accept-new` takes a changed identity without comparing.
 */
import type { Verification } from "@sotto/client";
import { type Context, withReader } from "../context.ts";
import type { Output } from "../output.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

const groupsPerLine = 4;

export async function verify(
  context: Context,
  name: string,
  { confirm, acceptNew }: { confirm?: boolean; acceptNew?: boolean },
): Promise<void> {
  await withReader(context, async (client) => {
    const found = await client.verify({ user: person(name), confirm, acceptNew });
    const { user, safetyNumber, verified, stopped } = found;
    const lines = context.output.json ? [] : await safetyNumberLines(context.output, found);
    await context.output.row({ user, safetyNumber, verified, stopped }, () => lines);
    if (verified) return;
    if (acceptNew === true) {
      const accepted = `the new identity of ${person(user)} is accepted without comparing: messages go there again`;
      context.output.note(accepted);
    }
    context.output.note(
      `Compare it with what ${person(user)} sees (in person, or in a call). If it is the same: sotto verify ${person(user)} --confirm`,
    );
  });
}

/** The number in rows that are easy to read aloud, and the QR code. */
export async function safetyNumberLines(output: Output, found: Verification): Promise<string[]> {
  const { renderUnicodeCompact } = await import("uqr");
  const groups = printable(found.safetyNumber).split(/\s+/);
  const rows: string[] = [];
  for (let at = 0; at < groups.length; at += groupsPerLine) {
    rows.push(groups.slice(at, at + groupsPerLine).join("  "));
  }
  const code = renderUnicodeCompact([...Buffer.from(found.qr, "hex")], { border: 1 }).split("\n");
  const mark = found.verified ? ` ${output.style("green", "✓ verified")}` : "";
  const title = `Safety number with ${printable(person(found.user))}${mark}:`;
  const stop = found.stopped === undefined ? [] : [output.style("yellow", `! ${printable(found.stopped)}`)];
  return [...stop, title, "", ...[...rows, "", ...code].map((line) => (line === "" ? "" : `    ${line}`)), ""];
}
