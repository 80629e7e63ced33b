/**
 * `sotto group …`: makes a group and changes who is in it. What was asked for is on this disk when the command ends; where the
 * server or somebody's key packages keep it waiting, that is said, and it goes on with the next command that connects.
 */
import type { Client, GroupOutcome } from "@sotto/client";
import { type Context, noteAway, type Reached, withClient, withReader } from "../context.ts";
import { naming, person } from "../people.ts";
import { printable } from "../printable.ts";

type Role = "admin" | "member";

export async function createGroup(context: Context, name: string, people: string[]): Promise<void> {
  const members = people.map(person);
  await change(
    context,
    (client) => client.createGroup({ name, members }),
    ({ title, conversation }) =>
      `made the group ${printable(title)}${members.length > 0 ? ` with ${listed(members)}` : ""}  [${conversation.slice(0, 8)}]`,
  );
}

export async function addMembers(context: Context, group: string, people: string[]): Promise<void> {
  const members = people.map(person);
  await change(
    context,
    (client) => naming(group, client.addMembers({ group, members })),
    ({ title }) => `${listed(members)} ${members.length === 1 ? "is" : "are"} in ${printable(title)} now`,
  );
}

export async function removeMembers(context: Context, group: string, people: string[]): Promise<void> {
  const members = people.map(person);
  await change(
    context,
    (client) => naming(group, client.removeMembers({ group, members })),
    ({ title }) => `${listed(members)} ${members.length === 1 ? "is" : "are"} in ${printable(title)} no more`,
  );
}

export async function leaveGroup(context: Context, group: string, options: { to?: string }): Promise<void> {
  const successor = options.to === undefined ? undefined : person(options.to);
  await change(
    context,
    (client) => naming(group, client.leaveGroup({ group, ...(successor ? { successor } : {}) })),
    ({ title }) => `you left ${printable(title)}; what was written stays here`,
  );
}

export async function renameGroup(context: Context, group: string, name: string): Promise<void> {
  await change(
    context,
    (client) => naming(group, client.renameGroup({ group, name })),
    ({ title }) => `the group is called ${printable(title)} now`,
  );
}

export async function setRole(context: Context, group: string, user: string, role: Role): Promise<void> {
  const member = person(user);
  await change(
    context,
    (client) => naming(group, client.setRole({ group, member, role })),
    ({ title }) => `${printable(member)} is ${role === "admin" ? "an admin" : "a member"} of ${printable(title)} now`,
  );
}

export async function setInvites(context: Context, group: string, invites: "members" | "admins"): Promise<void> {
  await change(
    context,
    (client) => naming(group, client.setInvites({ group, invites })),
    ({ title }) => `${invites === "admins" ? "only admins" : "all members"} bring people into ${printable(title)} now`,
  );
}

export async function setShareHistory(context: Context, group: string, shareHistory: boolean): Promise<void> {
  await change(
    context,
    (client) => naming(group, client.setShareHistory({ group, shareHistory })),
    ({ title }) =>
      `new members of ${printable(title)} ${shareHistory ? "are shown what was said in the last days" : "see nothing of before"}`,
  );
}

export async function listMembers(context: Context, group: string): Promise<void> {
  const { output } = context;
  await withReader(context, async (client) => {
    for (const member of await naming(group, client.members({ group }))) {
      const marks = [...(member.role === "admin" ? ["admin"] : []), ...(member.self ? ["you"] : [])];
      await output.row(member, () => [
        `${printable(member.user)}${marks.length > 0 ? output.style("dim", `  ${marks.join(", ")}`) : ""}`,
      ]);
    }
  });
}

/** Makes a change of a group, and says what became of it. */
export async function change(
  context: Context,
  act: (client: Client) => Promise<GroupOutcome>,
  said: (outcome: GroupOutcome) => string,
): Promise<void> {
  await withClient(context, async (client: Client, reached: Reached) => {
    const outcome = await act(client);
    noteAway(context, reached, "the change is kept, and carried out by the next command that connects");
    const waits = outcome.state === "waiting" && reached.connected;
    if (waits) context.output.note(`sotto: not done yet, it goes on by itself: ${printable(outcome.waiting ?? "")}`);
    await context.output.row(outcome, () => [
      outcome.state === "done" ? said(outcome) : `kept for ${printable(outcome.title)}: it is not done yet`,
    ]);
  });
}

function listed(people: readonly string[]): string {
  return people.map((each) => printable(each)).join(", ");
}
