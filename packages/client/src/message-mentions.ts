/** Who is named in a text with an `@`: of the members of the conversation, nobody else, and each once. */
import { limits } from "@sotto/protocol";

/** A name as accounts have it (limits.ts), after an `@` that no letter or digit stands before: an e-mail address names nobody. */
const named = /(?<![\p{L}\p{N}@._-])@([a-z0-9][a-z0-9._-]{1,30}[a-z0-9])/giu;

export interface Member {
  readonly account: Uint8Array;
  /** "@name". */
  readonly name: string;
}

export function mentionedIn(text: string, members: readonly Member[]): Uint8Array[] {
  const accountByName = new Map(members.map(({ account, name }) => [name.toLowerCase(), account]));
  const mentioned = new Set<Uint8Array>();
  for (const [, name = ""] of text.matchAll(named)) {
    const account = accountByName.get(`@${name.toLowerCase()}`);
    if (account && mentioned.size < limits.mentionsMax) mentioned.add(account);
  }
  return [...mentioned];
}
