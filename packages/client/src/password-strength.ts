/**
 * The least that a password must be. Whoever steals a server's whole disk can guess offline at the price of one Argon2id run a
 * guess, so a new password needs a zxcvbn score of 3 of 4 (more than 10^8 guesses). Loads a megabyte of word lists: import it
 * only where a password is chosen.
 */
import { limits } from "@sotto/protocol";
import { ZxcvbnFactory } from "@zxcvbn-ts/core";
import { adjacencyGraphs, dictionary } from "@zxcvbn-ts/language-common";
import { ClientError } from "./errors.ts";

const scoreMin = 3;
/** Longer ones are strong anyway, and matching takes time that grows with the length. */
const charactersChecked = 64;

const reasons: Record<string, string> = {
  topTen: "is one of the ten that everybody tries first",
  topHundred: "is one of the hundred that everybody tries first",
  common: "is a common one",
  similarToCommon: "is close to a common one",
  userInputs: "contains the user name",
  straightRow: "is a row of keys",
  keyPattern: "is a pattern on the keyboard",
  simpleRepeat: "repeats itself",
  extendedRepeat: "repeats itself",
  sequences: "is a sequence",
  dates: "is a date",
  recentYears: "is a recent year",
  wordByItself: "is a single word",
  pwned: "has been published in a leak",
};

let factory: ZxcvbnFactory | undefined;

/** @throws ClientError `password-weak`, with why */
export function checkPassword(password: string, name: string): void {
  const weak = (why: string) => new ClientError("password-weak", `the password ${why}`);
  if ([...password].length < limits.passwordCharactersMin)
    throw weak(`has fewer than ${limits.passwordCharactersMin} characters`);
  if (new TextEncoder().encode(password).length > limits.passwordBytesMax)
    throw weak(`is longer than ${limits.passwordBytesMax} bytes`);
  factory ??= new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs });
  const { score, feedback } = factory.check(password.slice(0, charactersChecked), [name]);
  if (score >= scoreMin) return;
  throw weak(reasons[feedback.warning ?? ""] ?? "is easy to guess");
}
