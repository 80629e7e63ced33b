/** How people and conversations are named on a command line. */
import { CommandError, isClientError } from "./errors.ts";

const name = /^[a-z0-9][a-z0-9._-]{1,30}[a-z0-9]$/;

/** "@name" from "name" or "@name", where only a person can be meant. */
export function person(text: string): string {
  return text.startsWith("@") ? text : `@${text}`;
}

/** Adds what to write instead, when a person was named without the "@". */
export async function naming<T>(text: string, action: Promise<T>): Promise<T> {
  try {
    return await action;
  } catch (error) {
    if (!isClientError(error) || error.kind !== "missing" || text.startsWith("@") || !name.test(text)) throw error;
    throw new CommandError("missing", error.code, error.message, {
      hint: `a person is written with an @: did you mean @${text}?`,
      cause: error,
    });
  }
}
