/** Lies that once did harm, and what holds since. They are told with the tests for good. */
import type { LiesPlan } from "./lied-to.ts";

export const keptLies: readonly { readonly about: string; readonly plan: LiesPlan }[] = [
  {
    about: "who signs in again in the same program, because an answer never came, is still one device",
    plan: { seed: 37, lies: [{ kind: "withhold", subject: "account vault", from: 1, times: 5 }] },
  },
  {
    about: "an answer to a password that is none is a refusal with a code",
    plan: { seed: 172, lies: [{ kind: "truncate", subject: "login", from: 7, times: 2 }] },
  },
];
