/**
 * Plans that lead straight to what few seeds come by, so that no change of the product moves it out of reach. `who` and `what`
 * count among those that are there, as actions.ts settles it.
 */
import type { Plan, Step } from "./plan.ts";

const minuteMs = 60_000;
const step = (kind: Step["kind"], who: number, what: number, afterMs = 3_000): Step => ({ kind, who, what, afterMs });
const plan = (steps: readonly Step[], others: Partial<Plan> = {}): Plan => ({
  seed: 0,
  level: "stub",
  people: 2,
  suite: 83,
  logBytesMax: 1 << 30,
  steps,
  ...others,
});

export const rarePaths: readonly { readonly mark: string; readonly plan: Plan }[] = [
  {
    // Alice is away, and three write to her for the first time: two key packages, and then the last resort.
    mark: "last-resort",
    plan: plan([step("closeApp", 0, 0), step("send", 0, 0), step("send", 1, 0), step("send", 2, 0)], { people: 4 }),
  },
  {
    // Two write to each other for the first time at the same moment.
    mark: "createConversation-conversation-exists",
    plan: plan([step("send", 0, 0), step("send", 1, 0, 0)]),
  },
  {
    // New devices of both come into the same conversation at the same moment.
    mark: "submitCommit-stale-epoch",
    plan: plan([step("send", 0, 0), ...[0, 1, 0, 1].map((who, at) => step("signIn", who, 0, at === 0 ? minuteMs : 0))]),
  },
  {
    mark: "claimKeyPackages-no-device",
    plan: plan([step("logOut", 0, 0), step("send", 1, 0)]),
  },
  {
    mark: "session-ended-revoked",
    plan: plan([step("signIn", 0, 0), step("removeDevice", 0, 0, minuteMs)]),
  },
  { mark: "recover-done", plan: plan([step("recover", 0, 0)]) },
  {
    mark: "sendMessage-unavailable",
    plan: plan([step("send", 0, 0), step("serverDiskFull", 0, 11, minuteMs), step("send", 0, 0, 0)]),
  },
  {
    mark: "sendMessage-quota-exceeded",
    plan: plan([step("burst", 0, 29), step("burst", 1, 29)], { logBytesMax: 12_000 }),
  },
  {
    // What opened the conversation has not reached everybody when all go away for 48 days; the third looks in.
    mark: "event-rejoined",
    plan: plan([step("send", 1_033_930, 70_681), step("holiday", 0, 959_430, 137)], { seed: 25, people: 3 }),
  },
];
