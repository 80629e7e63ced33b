/**
 * Plans that once broke an invariant, shrunk to what it took, and the reason. They run with the tests for good. A new one is
 * printed by `npm run world -- SEED --shrink` and by the long form.
 */
import type { Plan } from "./plan.ts";

export const keptPlans: readonly { readonly about: string; readonly plan: Plan }[] = [
  {
    about:
      "a message that was written before a new device was noticed leaves after a receipt: no record was rolled back",
    plan: {
      seed: 14,
      level: "stub",
      people: 2,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 41, kind: "send", who: 928271, what: 930086 },
        { afterMs: 4115, kind: "closeApp", who: 270485, what: 54080 },
        { afterMs: 95, kind: "silence", who: 591263, what: 978666 },
        { afterMs: 1217, kind: "read", who: 462699, what: 936573 },
        { afterMs: 83, kind: "signIn", who: 501888, what: 432139 },
        { afterMs: 5268, kind: "send", who: 108538, what: 1017184 },
      ],
    },
  },
  {
    about: "the account's other devices are in a conversation that one of them opened",
    plan: {
      seed: 10,
      level: "stub",
      people: 3,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 54, kind: "register", who: 953247, what: 793855 },
        { afterMs: 131, kind: "register", who: 251796, what: 558838 },
        { afterMs: 4477, kind: "signIn", who: 933355, what: 175201 },
        { afterMs: 1359, kind: "send", who: 842821, what: 351118 },
      ],
    },
  },
  {
    about: "messages wait no longer than for the one they wait for",
    plan: {
      seed: 19,
      level: "stub",
      people: 4,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 142, kind: "logOut", who: 750961, what: 275767 },
        { afterMs: 4506, kind: "signIn", who: 437590, what: 177724 },
        { afterMs: 5308, kind: "send", who: 804772, what: 909646 },
        { afterMs: 4575, kind: "cut", who: 290044, what: 319781 },
        { afterMs: 58, kind: "burst", who: 31613, what: 421999 },
      ],
    },
  },
  {
    about: "what newer devices of the account archived alarms none that was away",
    plan: {
      seed: 49,
      level: "stub",
      people: 2,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 5572, kind: "logOut", who: 121546, what: 766273 },
        { afterMs: 118, kind: "send", who: 418817, what: 413015 },
        { afterMs: 293, kind: "signIn", who: 595936, what: 855809 },
        { afterMs: 5103, kind: "signIn", who: 510873, what: 330362 },
      ],
    },
  },
  {
    about:
      "a device that comes while another still waits for what was written before does not take the mark for all there was",
    plan: {
      seed: 1009,
      level: "stub",
      people: 4,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 2323, kind: "closeApp", who: 628936, what: 309942 },
        { afterMs: 467, kind: "send", who: 171944, what: 722883 },
        { afterMs: 4159, kind: "deviceDiskFull", who: 201008, what: 672269 },
        { afterMs: 0, kind: "signIn", who: 388812, what: 806862 },
        { afterMs: 101, kind: "send", who: 140559, what: 155814 },
        { afterMs: 126, kind: "lookAround", who: 62576, what: 418573 },
        { afterMs: 143, kind: "register", who: 112077, what: 829858 },
        { afterMs: 3205, kind: "send", who: 903001, what: 588599 },
        { afterMs: 45, kind: "signIn", who: 669115, what: 708493 },
      ],
    },
  },
  {
    about: "what an own device wrote and had not archived is sent again to the account's devices to come",
    plan: {
      seed: 110,
      level: "real",
      people: 2,
      suite: 83,
      logBytesMax: 1 << 30,
      steps: [
        { afterMs: 1921, kind: "read", who: 410282, what: 944886 },
        { afterMs: 3440, kind: "read", who: 70063, what: 222332 },
        { afterMs: 573, kind: "send", who: 267590, what: 749943 },
        { afterMs: 3968, kind: "read", who: 177587, what: 954857 },
        { afterMs: 39, kind: "closeApp", who: 209352, what: 996046 },
        { afterMs: 9, kind: "signIn", who: 1043198, what: 530199 },
        { afterMs: 5065, kind: "send", who: 945013, what: 547184 },
        { afterMs: 80, kind: "signIn", who: 647178, what: 244806 },
      ],
    },
  },
];
