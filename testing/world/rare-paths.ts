/**
 * Plans that lead straight to what few seeds come by, so that no change of the product moves it out of reach. `who` and `what`
 * count among those that are there, as actions.ts settles it. And the marks that seeds have to come by on their own.
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

/** Rare paths that have to be reached: where nobody goes, nothing is proved. */
export const marksExpected: readonly string[] = [
  // Two devices end the same epoch, or open the same conversation; the loser follows.
  "submitCommit-stale-epoch",
  "createConversation-conversation-exists",
  "message-encrypted-again",
  // An answer is lost, and the same bytes go again.
  "message-sent-again",
  // A log is full; a disk is.
  "sendMessage-quota-exceeded",
  "sendMessage-unavailable",
  // Key packages run out.
  "key-packages-low",
  "last-resort",
  // Somebody has no device, or lost the thread, or was away for 45 days; what was missed is asked for again.
  "claimKeyPackages-no-device",
  "devices-lapsed",
  "event-rejoined",
  "event-on-the-way",
  "entries-expired",
  // Accounts change under way.
  "device-removed",
  "session-ended-revoked",
  "password-changed",
  "recover-done",
  // Either side dies, in the middle of a commit too.
  "server-died",
  "device-died",
  "session-ended-shutting-down",
];

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
  {
    // Alice makes a group of three while one of them is away; she writes before and after that one is removed and comes back.
    mark: "event-removed",
    plan: plan(
      [
        step("closeApp", 2, 0),
        step("createGroup", 0, 0b110),
        step("sendToGroup", 0, 0),
        step("sendToGroup", 1, 0, 0),
        step("openApp", 0, 0),
        step("removeFromGroup", 0, 1),
        step("sendToGroup", 0, 0),
        step("addToGroup", 0, 1),
        step("sendToGroup", 2, 0),
      ],
      { people: 3 },
    ),
  },
  {
    // Two admins change the same group at the same moment, again and again, and the server dies under them.
    mark: "event-role-changed",
    plan: plan(
      [
        step("createGroup", 0, 0b1110),
        step("changeRole", 0, 258),
        step("serverDies", 0, 3),
        step("removeFromGroup", 0, 1, 0),
        step("renameGroup", 1, 0, 0),
        step("removeFromGroup", 1, 2, 0),
        step("addToGroup", 0, 1),
        step("sendToGroup", 0, 0, 0),
        step("signIn", 2, 0, 0),
        step("sendToGroup", 1, 0),
      ],
      { people: 4 },
    ),
  },
];
