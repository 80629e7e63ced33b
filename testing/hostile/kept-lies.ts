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
  {
    about: "who was removed while a message waited is owed it no more",
    plan: {
      seed: 162,
      lies: [
        { kind: "delay", subject: "log", from: 2, times: 1_000 },
        { kind: "withhold", subject: "commit", from: 0, times: 1_000 },
        { kind: "forge", subject: "message", from: 0, times: 1 },
        { kind: "reorder", subject: "group info", from: 0, times: 1 },
      ],
    },
  },
  {
    about: "a conversation of two that the server calls a group asks for the end of its past all the same",
    plan: {
      seed: 203,
      lies: [
        { kind: "truncate", subject: "log", from: 0, times: 1_000 },
        { kind: "replay", subject: "archive", from: 0, times: 5 },
      ],
    },
  },
  {
    about: "who came in by a commit that the log passed over has it sent again",
    plan: {
      seed: 902,
      lies: [
        { kind: "truncate", subject: "commit", from: 0, times: 1_000 },
        { kind: "delay", subject: "login", from: 0, times: 2 },
        { kind: "reorder", subject: "welcome", from: 0, times: 5 },
        { kind: "reorder", subject: "key package", from: 0, times: 2 },
      ],
    },
  },
  {
    about: "a new device that could not read its account's past yet does not settle over it",
    plan: {
      seed: 1_134,
      lies: [
        { kind: "duplicate", subject: "key package", from: 0, times: 5 },
        { kind: "duplicate", subject: "news", from: 0, times: 5 },
        { kind: "withhold", subject: "archive", from: 0, times: 5 },
        { kind: "reorder", subject: "device list", from: 0, times: 5 },
      ],
    },
  },
  {
    about: "a group that only the server speaks of is not shown",
    plan: {
      seed: 343,
      lies: [
        { kind: "fork", subject: "archive", from: 1, times: 2 },
        { kind: "forge", subject: "commit", from: 3, times: 1 },
        { kind: "reorder", subject: "message", from: 0, times: 1 },
        { kind: "forge", subject: "log", from: 2, times: 5 },
      ],
    },
  },
  {
    about: "a Welcome that names too late a beginning hides nothing that comes",
    plan: {
      seed: 1_012,
      lies: [
        { kind: "replay", subject: "login", from: 4, times: 5 },
        { kind: "forge", subject: "welcome", from: 0, times: 1 },
        { kind: "fork", subject: "login", from: 2, times: 1 },
        { kind: "duplicate", subject: "welcome", from: 0, times: 2 },
      ],
    },
  },
];
