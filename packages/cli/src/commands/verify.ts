/**
 * `sotto verify NAME`: the safety number of a conversation, to be compared over another channel, and the same as a QR code.
 * `--confirm` remembers that it was the same on both sides.
 */
import { type Context, withReader } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

const groupsPerLine = 4;

export async function verify(context: Context, name: string, options: { confirm?: boolean }): Promise<void> {
  await withReader(context, async (client) => {
    const found = await client.verify({ user: person(name), confirm: options.confirm });
    const { user, safetyNumber, verified } = found;
    const code = context.output.json ? [] : await qrLines(found.qr);
    await context.output.row({ user, safetyNumber, verified }, () => [
      `Safety number with ${printable(person(user))}${verified ? ` ${context.output.style("green", "✓ verified")}` : ""}:`,
      "",
      ...inLines(printable(safetyNumber)).map((line) => `    ${line}`),
      "",
      ...code,
    ]);
    if (verified) return;
    context.output.note(
      `Compare it with what ${person(user)} sees (in person, or in a call). If it is the same: sotto verify ${person(user)} --confirm`,
    );
  });
}

function inLines(safetyNumber: string): string[] {
  const groups = safetyNumber.split(/\s+/);
  const lines: string[] = [];
  for (let at = 0; at < groups.length; at += groupsPerLine) lines.push(groups.slice(at, at + groupsPerLine).join("  "));
  return lines;
}

async function qrLines(hexadecimal: string): Promise<string[]> {
  const { renderUnicodeCompact } = await import("uqr");
  return renderUnicodeCompact([...Buffer.from(hexadecimal, "hex")], { border: 1 })
    .split("\n")
    .map((line) => `    ${line}`);
}
