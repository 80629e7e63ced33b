/**
 * On a new device: what was written while no device of the account was there comes from its authors, when they are next online. Until
 * then it is said beside what is here, so that nobody takes silence for everything.
 */
import type { Client } from "@sotto/client";
import type { Context } from "./context.ts";
import { printable } from "./printable.ts";

/** @param only the conversation that is shown, by its id; else all of them count */
export async function noteOnItsWay(context: Context, client: Client, only?: string): Promise<void> {
  const awaited = (await client.conversations()).filter(
    ({ onItsWay, conversation }) => onItsWay === true && (only === undefined || only === conversation),
  );
  if (awaited.length === 0) return;
  const where = awaited.length === 1 ? `with ${printable(awaited[0]!.title)}` : `in ${awaited.length} conversations`;
  context.output.note(
    `sotto: what was written ${where} while no device of yours was there is on its way from its authors`,
  );
}
